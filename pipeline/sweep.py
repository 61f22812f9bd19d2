"""Sweep: the trainings of a config for several seeds, side by side on the Beam engine."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from dermrobust.attacks.errors import UserError
from dermrobust.components.progress import Progress, Task
from dermrobust.components.train.component import TRAIN
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.execution import Session, new_session, run_or_reuse
from dermrobust.pipeline.graph import build_graph, with_upstream
from dermrobust.pipeline.interruption import interruptible_by_ctrl_c
from dermrobust.pipeline.node_runs import run_node
from dermrobust.pipeline.nodes import Node
from dermrobust.pipeline.outcomes import NodeResult, RunResult
from dermrobust.pipeline.recording import recorded
from dermrobust.pipeline.runner import run_pipeline
from dermrobust.pipeline.waves import Ready, run_wave

_LARGEST_SEED = 2**31 - 1


@dataclass(frozen=True)
class SweepResult:
    """Outcome of a sweep.

    Attributes:
        models: names of the swept models.
        data: outcome of the stages that all seeds share.
        runs: outcome of the trainings by seed; empty if there are no data.
    """

    models: tuple[str, ...]
    data: RunResult
    runs: Mapping[int, RunResult] = field(default_factory=dict)

    @property
    def nodes(self) -> tuple[NodeResult, ...]:
        """Outcomes of all nodes; messages begin with the seed."""
        return self.data.nodes + tuple(
            replace(node, message=f"seed {seed}: {node.message}" if node.message else "")
            for seed, run in self.runs.items()
            for node in run.nodes
        )

    @property
    def exit_code(self) -> int:
        """0 after success, 1 after a failure, 2 after a user error."""
        return max(node.exit_code for node in self.nodes)


def run_sweep(
    config: PipelineConfig, progress: Progress, *, seeds: Sequence[int], models: Sequence[str] | None = None
) -> SweepResult:
    """Train models for several seeds; finished trainings are not repeated, interrupted ones are resumed.

    Each seed is a run of its own in the ledger, with the artifacts of `dermrobust run --set seed=SEED`. The data set
    and its splits are the same for all seeds. A failure stops only what needs the failed model.

    Args:
        config: config of the pipeline.
        progress: receiver of progress reports.
        seeds: seeds of training and of the adversarial examples that models are trained on.
        models: names of models of the config; None: all.

    Raises:
        UserError: a seed or a name is not valid, or the Beam engine cannot be used.
    """
    _check_seeds(seeds)
    names = _checked_models(config, models)
    configs = {seed: seeded(config, seed) for seed in seeds}
    data = run_pipeline(config, progress, first="ingest", last="preprocess", force=False)
    if data.exit_code:
        return SweepResult(names, data)
    progress.line(
        f"sweep: models {', '.join(names)}; seeds {', '.join(map(str, seeds))}; finished trainings are not repeated"
    )
    runs = {seed: _SeedRun(each, seed, names, progress) for seed, each in configs.items()}
    with interruptible_by_ctrl_c(), contextlib.ExitStack() as records:
        for run in runs.values():
            settings = run.session.config.model_dump(mode="json")
            records.enter_context(recorded(run.session, settings))
        _run_all(list(runs.values()))
        return SweepResult(names, data, {seed: run.result() for seed, run in runs.items()})


def seeded(config: PipelineConfig, seed: int) -> PipelineConfig:
    """Return a config with another seed in every stage that has one.

    Raises:
        UserError: the config gives a model a seed of its own, which would be the same throughout a sweep.
    """
    places = {f"defences.{name}": values for name, values in config.defences.items()}
    for place, values in {**places, "augment.train": config.augment.train}.items():
        if "seed" in values:
            raise UserError(f"{place}.seed: a sweep sets the seeds of all models; remove this one")
    sections = ("train", "augment", "evaluate")
    changed = {name: getattr(config, name).model_copy(update={"seed": seed}) for name in sections}
    return config.model_copy(update={"seed": seed, **changed})


def _check_seeds(seeds: Sequence[int]) -> None:
    if not seeds:
        raise UserError("sweep: there are no seeds; name some, such as 0,1,2")
    for seed, count in Counter(seeds).items():
        if not 0 <= seed <= _LARGEST_SEED:
            raise UserError(f"sweep: {seed} cannot be a seed; seeds lie between 0 and {_LARGEST_SEED}")
        if count > 1:
            raise UserError(f"sweep: seed {seed} is named {count} times; name each seed once")


def _checked_models(config: PipelineConfig, models: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of the swept models, in the order of the config."""
    known = config.model_names()
    if models is None:
        return known
    if not models:
        raise UserError(f"sweep: there are no models; name some of: {', '.join(known)}")
    if unknown := [name for name in models if name not in known]:
        raise UserError(f"sweep: there is no model '{unknown[0]}'; there are: {', '.join(known)}")
    return tuple(name for name in known if name in models)


class _SeedRun:
    """The run of a seed."""

    def __init__(self, config: PipelineConfig, seed: int, models: Sequence[str], progress: Progress) -> None:
        nodes = with_upstream(build_graph(config), [f"train[{name}]" for name in models])
        selected = frozenset(node.id for node in nodes)
        self.session: Session = new_session(config, _OfSeed(progress, seed), selected=selected, force=False)
        self._waiting, self._results = nodes, dict[str, NodeResult]()

    def ready(self) -> list[Ready]:
        """Return the nodes that can run: all that they need has been tried."""
        needs = {
            node.id: sorted({output.node for outputs in node.inputs.values() for output in outputs})
            for node in self._waiting
        }
        return [
            Ready(self.session, node, tuple(self._results[name] for name in needs[node.id]))
            for node in self._waiting
            if all(name in self._results for name in needs[node.id])
        ]

    def add(self, result: NodeResult) -> None:
        """Add the outcome of a node."""
        self._results[result.node] = result
        self._waiting = [node for node in self._waiting if node.id != result.node]

    def result(self) -> RunResult:
        """Return the outcome of the run."""
        return RunResult(self.session.run, tuple(self.session.results))


def _run_all(runs: Sequence[_SeedRun]) -> None:
    """Run the nodes of all runs: those that spread work over the engine one by one, trainings in waves."""
    while any(run.ready() for run in runs):
        for run in runs:
            while others := [each for each in run.ready() if not _is_training(each.node)]:
                for each in others:
                    run.add(run_node(each.session, each.node, each.upstream, run_or_reuse))
        trainings = [(run, each) for run in runs for each in run.ready()]
        results = run_wave([each for _, each in trainings])
        for (run, _), result in zip(trainings, results, strict=True):
            run.add(result)


def _is_training(node: Node) -> bool:
    return node.component.name == TRAIN.name


class _OfSeed:
    """Progress whose tasks and lines begin with the seed."""

    def __init__(self, progress: Progress, seed: int) -> None:
        self._progress, self._seed = progress, seed

    def task(self, description: str, total: int | None, unit: str) -> contextlib.AbstractContextManager[Task]:
        """See `Progress.task`."""
        return self._progress.task(f"seed {self._seed} {description}", total, unit)

    def line(self, text: str) -> None:
        """See `Progress.line`."""
        self._progress.line(f"seed {self._seed}: {text}")
