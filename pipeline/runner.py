"""The runner: executes a graph as a Beam pipeline in this process.

A node is a transform whose side inputs are the results of the nodes that it needs, as in TFX's Beam orchestrator: it
runs when they are there, and a failure stops only what depends on it.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from dermrobust.attacks.errors import UserError
from dermrobust.components import storage
from dermrobust.components.artifacts import Artifact, ArtifactStore, Provenance
from dermrobust.components.beam_runtime import BeamRuntime
from dermrobust.components.component import Context, Refused
from dermrobust.components.export.publish import publish
from dermrobust.components.fingerprint import fingerprint, library_versions
from dermrobust.components.progress import Progress, Task
from dermrobust.pipeline import places
from dermrobust.pipeline.config import PipelineConfig, dump
from dermrobust.pipeline.graph import between, build_graph, needed
from dermrobust.pipeline.ledger import Ledger
from dermrobust.pipeline.locks import alone
from dermrobust.pipeline.nodes import Node

DONE, CACHED, FAILED, SKIPPED, REFUSED = "done", "cached", "failed", "skipped", "refused"
EXIT_CODES = {DONE: 0, CACHED: 0, SKIPPED: 0, FAILED: 1, REFUSED: 3}
EXIT_USER_ERROR = 2


@dataclass(frozen=True)
class NodeResult:
    """What became of a node.

    Attributes:
        node: its id.
        status: done, cached, failed, skipped or refused.
        seconds: how long it took.
        outputs: the artifacts by the name of the output.
        message: why it failed, was skipped or refused.
        exit_code: what the process is to return because of it.
    """

    node: str
    status: str
    seconds: float = 0.0
    outputs: Mapping[str, Artifact] = field(default_factory=dict)
    message: str = ""
    exit_code: int = 0

    @property
    def ok(self) -> bool:
        """Whether its outputs are there."""
        return self.status in (DONE, CACHED)


@dataclass(frozen=True)
class RunResult:
    """What became of a run: its id, its nodes in the order in which they ended, and where the export is served from."""

    run: str
    nodes: tuple[NodeResult, ...]
    published: str | None = None

    @property
    def exit_code(self) -> int:
        """0; 1 after a failure, 2 after a mistake of the user, 3 after a refusal."""
        return max((node.exit_code for node in self.nodes), default=0)

    def output(self, node: str, name: str) -> Artifact | None:
        """Return an artifact of the run."""
        return next((result.outputs.get(name) for result in self.nodes if result.node == node), None)


@dataclass
class _Session:
    """A run in progress; lives in this process only, where all nodes run."""

    run: str
    config: PipelineConfig
    store: ArtifactStore
    ledger: Ledger
    progress: Progress
    selected: frozenset[str]
    force: bool
    results: list[NodeResult] = field(default_factory=list)


_sessions: dict[str, _Session] = {}


def run_pipeline(config: PipelineConfig, progress: Progress, *, first: str, last: str, force: bool) -> RunResult:
    """Run the stages from `first` to `last`; what is unchanged is not done again.

    Args:
        config: of the pipeline.
        progress: whom to tell.
        first: stage to begin with; what it needs of earlier ones must be there.
        last: stage to end with.
        force: do the work even if its result is there.
    """
    nodes = needed(build_graph(config), first, last)
    stages = between(first, last)
    selected = frozenset(node.id for node in nodes if node.stage in stages)
    return run_graph(config, nodes, progress, settings=dump(config), selected=selected, force=force)


def run_graph(
    config: PipelineConfig,
    nodes: Sequence[Node],
    progress: Progress,
    *,
    settings: Mapping[str, Any],
    selected: frozenset[str],
    force: bool,
) -> RunResult:
    """Run any graph; what is unchanged is not done again.

    Args:
        config: where: its root, its Beam engine, and where an exported model is served from.
        nodes: each after those that it needs.
        progress: whom to tell.
        settings: what the ledger keeps of what was asked for.
        selected: ids of the nodes that may do work; of the others the result must be there.
        force: do the work of selected nodes even if its result is there.
    """
    session = _Session(
        run=f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}",
        config=config,
        store=ArtifactStore(config.root),
        ledger=Ledger(places.ledger_path(config)),
        progress=progress,
        selected=selected,
        force=force,
    )
    session.ledger.begin_run(session.run, settings)
    _sessions[session.run] = session
    status = "interrupted"
    try:
        with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions(["--no_pipeline_type_check"])) as root:
            _wire(root, nodes, session.run)
        result = RunResult(session.run, tuple(session.results), _publish(session))
        status = "succeeded" if result.exit_code == 0 else "failed"
        return result
    finally:
        session.ledger.end_run(session.run, status)
        del _sessions[session.run]


def _publish(session: _Session) -> str | None:
    """Put the exported model, where there is one, to where it is served from."""
    exported = next(
        (node.outputs["exported_model"] for node in session.results if "exported_model" in node.outputs), None
    )
    if exported is None:
        return None
    with alone(places.lock_path(session.config, "publish"), _waiting(session, "export")):
        return publish(exported, places.export_directory(session.config))


def _wire(root: beam.Pipeline, nodes: Sequence[Node], run: str) -> None:
    """Make a transform of every node."""
    results: dict[str, beam.PCollection] = {}
    for node in nodes:
        upstream = sorted({output.node for outputs in node.inputs.values() for output in outputs})
        ready = [beam.pvalue.AsSingleton(results[name]) for name in upstream]
        start = root | f"start {node.id}" >> beam.Create([node])
        results[node.id] = start | node.id >> beam.ParDo(_RunNode(run), *ready)


class _RunNode(beam.DoFn):
    """Runs the node that is its element; its side inputs are the results of the nodes upstream."""

    def __init__(self, run: str) -> None:
        self._run = run

    def process(self, node: Node, *upstream: NodeResult) -> Iterator[NodeResult]:
        """Yield the node's result; a failure is a result too."""
        session = _sessions[self._run]
        started = time.monotonic()
        inputs: dict[str, tuple[Artifact, ...]] = {}
        key: str | None = None
        try:
            missing = [result for result in upstream if not result.ok]
            if missing:
                result = _skipped(node, missing)
            else:
                inputs = _inputs(node, upstream)
                key = fingerprint(node.component, node.params, inputs)
                result = _run_or_reuse(session, node, inputs, key, started)
        except Refused as refusal:
            result = NodeResult(node.id, REFUSED, message=str(refusal), exit_code=EXIT_CODES[REFUSED])
        except UserError as error:
            # Beam adds the name of its own step to what a worker says.
            message = str(error).split(" [while running ", 1)[0]
            result = NodeResult(node.id, FAILED, message=message, exit_code=EXIT_USER_ERROR)
        except Exception as error:
            result = NodeResult(
                node.id, FAILED, message=_report_crash(session, node, error), exit_code=EXIT_CODES[FAILED]
            )
        _record(session, node, result, inputs, key, time.monotonic() - started)
        yield result


def _skipped(node: Node, missing: list[NodeResult]) -> NodeResult:
    names = ", ".join(result.node for result in missing)
    return NodeResult(node.id, SKIPPED, message=f"needs {names}")


def _inputs(node: Node, upstream: tuple[NodeResult, ...]) -> dict[str, tuple[Artifact, ...]]:
    made = {result.node: result.outputs for result in upstream}
    return {name: tuple(made[output.node][output.name] for output in outputs) for name, outputs in node.inputs.items()}


def _run_or_reuse(
    session: _Session, node: Node, inputs: dict[str, tuple[Artifact, ...]], key: str, started: float
) -> NodeResult:
    selected = node.id in session.selected
    forced = session.force and selected
    if not forced and (present := _present(session, node, key)) is not None:
        return NodeResult(node.id, CACHED, time.monotonic() - started, present)
    if not selected:
        raise UserError(
            f"{node.id}: there is no result of this stage for the present config, data and code. "
            f"Run it first: dermrobust run --to {node.stage}"
        )
    with alone(places.lock_path(session.config, key), _waiting(session, node.id)):
        # A run beside this one may have done it meanwhile.
        if not forced and (present := _present(session, node, key)) is not None:
            return NodeResult(node.id, CACHED, time.monotonic() - started, present)
        outputs = _execute(session, node, inputs, key)
    return NodeResult(node.id, DONE, time.monotonic() - started, outputs)


def _waiting(session: _Session, who: str) -> Callable[[], None]:
    return lambda: session.progress.line(f"{who}: another run is at the same work; waiting for it")


def _present(session: _Session, node: Node, key: str) -> dict[str, Artifact] | None:
    """Return a node's artifacts if all of them are there."""
    found = {name: session.store.find(type_, key) for name, type_ in node.component.outputs.items()}
    present = {name: artifact for name, artifact in found.items() if artifact is not None}
    return present if len(present) == len(found) else None


def _execute(session: _Session, node: Node, inputs: dict[str, tuple[Artifact, ...]], key: str) -> dict[str, Artifact]:
    """Do the work of a node and publish what it made, all or nothing."""
    component, store = node.component, session.store
    staged = {name: store.stage(type_, key, resumable=component.resumable) for name, type_ in component.outputs.items()}
    work = storage.join(session.config.root, "work", key)
    storage.make_folder(work)
    beam_config = session.config.beam
    context = Context(
        params=node.params,
        inputs=inputs,
        outputs=staged,
        work_folder=work,
        beam=BeamRuntime(beam_config.runner, beam_config.options),
        progress=_Labelled(session.progress, node.id),
    )
    origin = Provenance(
        producer=node.id,
        parameters=node.params.model_dump(mode="json"),
        inputs=inputs,
        versions=library_versions(component.libraries),
    )
    try:
        component.execute(context)
        published = {name: store.publish(staged[name], type_, key, origin) for name, type_ in component.outputs.items()}
    except BaseException:
        if not component.resumable:
            _remove(staged)
        raise
    _remove(staged)
    storage.remove(work)
    return published


def _remove(staged: Mapping[str, str]) -> None:
    for uri in staged.values():
        storage.remove(uri)


class _Labelled:
    """Progress whose tasks carry the id of their node."""

    def __init__(self, progress: Progress, label: str) -> None:
        self._progress, self._label = progress, label

    def task(self, description: str, total: int | None, unit: str) -> contextlib.AbstractContextManager[Task]:
        return self._progress.task(self._label if "[" in self._label else description, total, unit)

    def line(self, text: str) -> None:
        stage, separator, rest = text.partition(": ")
        self._progress.line(f"{self._label}: {rest}" if separator and stage in self._label else text)


def _report_crash(session: _Session, node: Node, error: Exception) -> str:
    """Keep the traceback in a file and return a message that names it."""
    path = places.crash_log(session.config, session.run, re.sub(r"[^a-z0-9]+", "-", node.id).strip("-"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(traceback.format_exception(error)))
    first = str(error).strip().splitlines()
    return f"{node.id} failed: {type(error).__name__}: {first[0] if first else ''}\nThe traceback is in {path}"


def _record(
    session: _Session,
    node: Node,
    result: NodeResult,
    inputs: Mapping[str, tuple[Artifact, ...]],
    key: str | None,
    seconds: float,
) -> None:
    with _recording:
        session.results.append(result)
        session.ledger.record(
            session.run,
            node=node.id,
            stage=node.stage,
            component=node.component.name,
            fingerprint=key,
            status=result.status,
            seconds=seconds,
            message=result.message,
            inputs=inputs,
            outputs=result.outputs,
        )
    session.progress.line(_status_line(node, result, seconds))


_recording = threading.Lock()


def _status_line(node: Node, result: NodeResult, seconds: float) -> str:
    text = {
        DONE: f"done in {seconds:.1f} s",
        CACHED: "unchanged, not run again",
        FAILED: "failed",
        SKIPPED: f"skipped: {result.message}",
        REFUSED: "refused",
    }[result.status]
    return f"{node.id}: {text}"
