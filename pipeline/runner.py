"""Runner: executes a graph; nodes whose outputs are published are not run again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dermrobust.components import storage
from dermrobust.components.export.publish import publish
from dermrobust.components.integrity import check
from dermrobust.components.progress import Progress
from dermrobust.pipeline.cleaning import clean_up
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.execution import Session, new_session
from dermrobust.pipeline.graph import between, build_graph, needed
from dermrobust.pipeline.interruption import interruptible_by_ctrl_c
from dermrobust.pipeline.local_files import export_directory, lock_path
from dermrobust.pipeline.locks import locked
from dermrobust.pipeline.node_runs import reuse
from dermrobust.pipeline.nodes import Node
from dermrobust.pipeline.outcomes import RunResult
from dermrobust.pipeline.recording import recorded
from dermrobust.pipeline.report.wording import duration


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
    with interruptible_by_ctrl_c(), recorded(session, settings):
        reused = reuse(session, nodes)
        if work := [node for node in nodes if node.id not in reused]:
            # A run that has nothing to do does not wait for the import of Beam.
            from dermrobust.pipeline.orchestration import orchestrate

            orchestrate(session, work, reused)
        return RunResult(session.run, tuple(session.results), _publish(session))


def _plan(nodes: Sequence[Node], selected: frozenset[str], durations: Mapping[str, float]) -> str:
    """Return what a run will do, and how long that took before."""
    names = [node.id for node in nodes if node.id in selected]
    if not names:
        return "run: the config has no work for these stages"
    known = [durations[name] for name in names if name in durations]
    text = f"run: {len(names)} steps, {names[0]} to {names[-1]}; unchanged ones are not repeated"
    if known:
        text += f"; their work took {duration(sum(known))} when it last ran here"
        if new := len(names) - len(known):
            text += f", without {new} that have not run"
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
