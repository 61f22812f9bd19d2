"""Runner: executes a graph as a Beam pipeline in this process.

Each node is a transform whose side inputs are the outcomes of the nodes that it needs, as in TFX's Beam orchestrator.
It runs when they exist, and a failure stops only the nodes that depend on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from dermrobust.attacks.errors import UserError
from dermrobust.components import storage
from dermrobust.components.component import Refused
from dermrobust.components.export.publish import publish
from dermrobust.components.fingerprint import fingerprint
from dermrobust.components.integrity import check
from dermrobust.components.progress import Progress
from dermrobust.pipeline.cleaning import clean_up
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.execution import Inputs, Session, new_session, run_or_reuse
from dermrobust.pipeline.failures import failure
from dermrobust.pipeline.graph import between, build_graph, needed
from dermrobust.pipeline.local_files import export_directory, lock_path
from dermrobust.pipeline.locks import locked
from dermrobust.pipeline.nodes import Node
from dermrobust.pipeline.outcomes import (
    EXIT_CODES,
    EXIT_USER_ERROR,
    FAILED,
    REFUSED,
    SKIPPED,
    NodeResult,
    RunResult,
)
from dermrobust.pipeline.recording import record, recorded
from dermrobust.pipeline.report.wording import duration

_sessions: dict[str, Session] = {}
"""Runs in progress by their ids. Transforms find theirs here, since Beam pickles what it is given."""


def run_pipeline(config: PipelineConfig, progress: Progress, *, first: str, last: str, force: bool) -> RunResult:
    """Run the stages from `first` to `last`; unchanged work is not repeated.

    Args:
        config: config of the pipeline.
        progress: receiver of progress reports.
        first: stage to begin with; the outputs of earlier stages must exist.
        last: stage to end with.
        force: whether to repeat the work of these stages even if nothing changed.
    """
    nodes = needed(build_graph(config), first, last)
    stages = between(first, last)
    selected = frozenset(node.id for node in nodes if node.stage in stages)
    return run_graph(config, nodes, progress, settings=config.model_dump(mode="json"), selected=selected, force=force)


def run_graph(
    config: PipelineConfig,
    nodes: Sequence[Node],
    progress: Progress,
    *,
    settings: Mapping[str, Any],
    selected: frozenset[str],
    force: bool,
) -> RunResult:
    """Run a graph; unchanged work is not repeated.

    Args:
        config: config whose root, Beam engine and export directory are used.
        nodes: nodes of the graph, each after the nodes that it needs.
        progress: receiver of progress reports.
        settings: JSON values that the ledger keeps as the config of the run.
        selected: ids of the nodes that may do work; the outputs of the others must exist.
        force: whether selected nodes do their work even if their outputs exist.
    """
    session = new_session(config, progress, selected=selected, force=force)
    storage.check_usable(config.root)
    clean_up(config, session.store, session.ledger)
    progress.line(_plan(nodes, selected, session.ledger.durations()))
    with recorded(session, settings):
        _sessions[session.run] = session
        try:
            with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions(["--no_pipeline_type_check"])) as root:
                _wire(root, nodes, session.run)
            return RunResult(session.run, tuple(session.results), _publish(session))
        finally:
            del _sessions[session.run]


def _plan(nodes: Sequence[Node], selected: frozenset[str], durations: Mapping[str, float]) -> str:
    """Return what a run will do, and how long that took before."""
    names = [node.id for node in nodes if node.id in selected]
    if not names:
        return "run: the config has no work for these stages"
    known = [durations[name] for name in names if name in durations]
    text = f"run: {len(names)} steps, {names[0]} to {names[-1]}; unchanged ones are not repeated"
    if known:
        text += f"; they took {duration(sum(known))} when they last ran here"
        if new := len(names) - len(known):
            text += f", without {new} that have not"
    return text


def _publish(session: Session) -> str | None:
    """Copy the exported model, if there is one, to the export directory, and return its place there."""
    exported = next(
        (node.outputs["exported_model"] for node in session.results if "exported_model" in node.outputs), None
    )
    if exported is None:
        return None
    check(exported, "Delete its folder and run the same command again")
    with locked(lock_path(session.config, "publish"), session.waiting("export")):
        return publish(exported, export_directory(session.config))


def _wire(root: beam.Pipeline, nodes: Sequence[Node], run: str) -> None:
    """Add a transform for every node to a Beam pipeline."""
    results: dict[str, beam.PCollection] = {}
    for node in nodes:
        upstream = sorted({output.node for outputs in node.inputs.values() for output in outputs})
        ready = [beam.pvalue.AsSingleton(results[name]) for name in upstream]
        start = root | f"start {node.id}" >> beam.Create([node])
        results[node.id] = start | node.id >> beam.ParDo(_RunNode(run), *ready)


class _RunNode(beam.DoFn):
    """Runs the node that is its element; its side inputs are the outcomes of the nodes that it needs."""

    def __init__(self, run: str) -> None:
        self._run = run

    def process(self, node: Node, *upstream: NodeResult) -> Iterator[NodeResult]:
        """Yield the outcome of the node."""
        yield run_node(_sessions[self._run], node, upstream, run_or_reuse)


def run_node(
    session: Session,
    node: Node,
    upstream: Sequence[NodeResult],
    work: Callable[[Session, Node, Inputs, str], NodeResult],
) -> NodeResult:
    """Return, record and report the outcome of a node; failures are outcomes, not exceptions, so that others go on.

    Args:
        session: the run.
        node: the node.
        upstream: outcomes of the nodes that it needs.
        work: function of the run, the node, its inputs and its fingerprint, called if the inputs exist; see
            `run_or_reuse`.
    """
    started = time.monotonic()
    inputs: Inputs = {}
    key: str | None = None
    try:
        missing = [result for result in upstream if not result.ok]
        if missing:
            result = _skipped(node, missing)
        else:
            inputs = inputs_of(node, upstream)
            key = fingerprint(node.component, node.params, inputs)
            result = work(session, node, inputs, key)
    except Refused as refusal:
        result = NodeResult(node.id, REFUSED, message=str(refusal), exit_code=EXIT_CODES[REFUSED])
    except UserError as error:
        # Beam appends the name of its step to the messages of exceptions in workers.
        message = str(error).split(" [while running ", 1)[0]
        result = NodeResult(node.id, FAILED, message=message, exit_code=EXIT_USER_ERROR)
    except Exception as error:
        result = failure(session.config, session.run, node.id, error)
    # Work that was done elsewhere has taken longer than this call.
    record(session, node, result, inputs, key, max(result.seconds, time.monotonic() - started))
    return result


def _skipped(node: Node, missing: list[NodeResult]) -> NodeResult:
    names = ", ".join(result.node for result in missing)
    return NodeResult(node.id, SKIPPED, message=f"needs {names}")


def inputs_of(node: Node, upstream: Sequence[NodeResult]) -> Inputs:
    """Return the input artifacts of a node, from the outcomes of the nodes that it needs."""
    made = {result.node: result.outputs for result in upstream}
    return {name: tuple(made[output.node][output.name] for output in outputs) for name, outputs in node.inputs.items()}
