"""Execution of one node: reuse of its published outputs, or its work."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from dermrobust.attacks.errors import UserError
from dermrobust.components.artifacts import Artifact, ArtifactStore
from dermrobust.components.beam_runtime import BeamRuntime
from dermrobust.components.execution import Execution
from dermrobust.components.fingerprint import fingerprint
from dermrobust.components.integrity import problems
from dermrobust.components.progress import Progress, Task
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.ledger import Ledger
from dermrobust.pipeline.local_files import ledger_path, lock_path
from dermrobust.pipeline.locks import locked
from dermrobust.pipeline.nodes import Node
from dermrobust.pipeline.outcomes import CACHED, DONE, NodeResult

Inputs = Mapping[str, tuple[Artifact, ...]]


@dataclass
class Session:
    """A run in progress.

    Attributes:
        run: id of the run.
        config: config of the pipeline; root, Beam engine and export directory are used.
        store: artifacts of the root.
        ledger: ledger of the root.
        progress: receiver of progress reports.
        selected: ids of the nodes that may do work.
        force: whether selected nodes do their work even if their outputs exist.
        results: outcomes so far.
        keys: fingerprints of the outputs of nodes, by id, as far as they are known.
    """

    run: str
    config: PipelineConfig
    store: ArtifactStore
    ledger: Ledger
    progress: Progress
    selected: frozenset[str]
    force: bool
    results: list[NodeResult] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)

    def key(self, node: Node, inputs: Inputs) -> str:
        """Return the fingerprint of a node's outputs; raw files that it depends on are read once."""
        if node.id not in self.keys:
            self.keys[node.id] = fingerprint(node.component, node.params, inputs)
        return self.keys[node.id]

    def waiting(self, who: str) -> Callable[[], None]:
        """Return a function that reports that another run holds a lock."""
        return lambda: self.progress.line(f"{who}: another run is at the same work; waiting for it")


def new_session(config: PipelineConfig, progress: Progress, *, selected: frozenset[str], force: bool) -> Session:
    """Return a run with a new id, of which nothing is recorded yet; the arguments are attributes of `Session`."""
    return Session(
        run=f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}",
        config=config,
        store=ArtifactStore(config.root),
        ledger=Ledger(ledger_path(config)),
        progress=progress,
        selected=selected,
        force=force,
    )


def run_or_reuse(session: Session, node: Node, inputs: Inputs, key: str) -> NodeResult:
    """Return the outcome of a node whose inputs exist.

    Args:
        session: the run.
        node: the node.
        inputs: its input artifacts.
        key: fingerprint of its outputs.

    Raises:
        UserError: the outputs do not exist, and the node is not selected to make them.
    """
    started = time.monotonic()
    selected = node.id in session.selected
    forced = session.force and selected
    if not forced and (present := published(session.store, node, key)) is not None:
        return NodeResult(node.id, CACHED, time.monotonic() - started, present)
    if not selected:
        missing = _missing(session.store, node, key)
        raise UserError(f"{node.id}: {missing}. Run it first: dermrobust run --to {node.stage}")
    with locked(lock_path(session.config, key), session.waiting(node.id)):
        # Another run may have done the work while this one waited for the lock.
        if not forced and (present := published(session.store, node, key)) is not None:
            return NodeResult(node.id, CACHED, time.monotonic() - started, present)
        make_ready(session, node, inputs, key)
        outputs = _execute(session, node, inputs, key)
    return NodeResult(node.id, DONE, time.monotonic() - started, outputs)


def published(store: ArtifactStore, node: Node, key: str) -> dict[str, Artifact] | None:
    """Return the outputs of a node if all of them exist, and all their files with their sizes."""
    found = {name: store.find(type_, key) for name, type_ in node.component.outputs.items()}
    present = {name: artifact for name, artifact in found.items() if artifact is not None}
    if len(present) < len(found) or _damage(present.values()) is not None:
        return None
    return present


def _damage(artifacts: Iterable[Artifact]) -> str | None:
    """Return the first thing that is wrong with artifacts, as far as it shows without reading their contents."""
    return next((problem for artifact in artifacts for problem in problems(artifact, contents=False)), None)


def _outputs(store: ArtifactStore, node: Node, key: str) -> list[Artifact]:
    found = (store.find(type_, key) for type_ in node.component.outputs.values())
    return [artifact for artifact in found if artifact is not None]


def _missing(store: ArtifactStore, node: Node, key: str) -> str:
    damage = _damage(_outputs(store, node, key))
    if damage is not None:
        return f"its result is damaged: {damage}"
    return "there is no result of this stage for the present config, data and code"


def make_ready(session: Session, node: Node, inputs: Inputs, key: str) -> None:
    """Make sure that a node can do its work: nothing damaged is at the place of its outputs, and its inputs are intact.

    Raises:
        UserError: a file of an input was changed.
    """
    _set_aside_damaged(session, node, key)
    _check_inputs(session, inputs)


def _set_aside_damaged(session: Session, node: Node, key: str) -> None:
    """Make room for outputs that are made again because a file of theirs is missing or has another size."""
    for artifact in _outputs(session.store, node, key):
        if (damage := _damage([artifact])) is not None:
            place = session.store.set_aside(artifact.type, artifact.fingerprint)
            session.progress.line(f"{node.id}: made again, since {damage}. The damaged result is kept in '{place}'")


def _check_inputs(session: Session, inputs: Inputs) -> None:
    """Refuse inputs whose content is not what was written; each is read once in a process.

    Raises:
        UserError: a file was changed. Its artifact is moved away, so that the next run makes it again.
    """
    for artifact in (artifact for artifacts in inputs.values() for artifact in artifacts):
        if (problem := next(problems(artifact, contents=True), None)) is not None:
            place = session.store.set_aside(artifact.type, artifact.fingerprint)
            raise UserError(f"{problem}. The damaged artifact was moved to '{place}'; the same command makes it again")


def _execute(session: Session, node: Node, inputs: Inputs, key: str) -> dict[str, Artifact]:
    """Do the work of a node and publish its outputs."""
    beam_config, store = session.config.beam, session.store
    runtime = BeamRuntime(beam_config.runner, beam_config.options, store.root)
    execution = Execution(node.id, node.component, node.params, inputs, key)
    return execution.run(store, runtime, labelled(session.progress, node.id))


def labelled(progress: Progress, label: str) -> Progress:
    """Return progress whose tasks and lines carry the id of their node instead of the name of its stage."""
    return _Labelled(progress, label)


class _Labelled:
    def __init__(self, progress: Progress, label: str) -> None:
        self._progress, self._label = progress, label

    def task(self, description: str, total: int | None, unit: str) -> contextlib.AbstractContextManager[Task]:
        # A stage of one node describes its task better than its id does.
        return self._progress.task(self._label if "[" in self._label else description, total, unit)

    def line(self, text: str) -> None:
        stage, separator, rest = text.partition(": ")
        self._progress.line(f"{self._label}: {rest}" if separator and stage in self._label else text)
