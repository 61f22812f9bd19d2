"""Execution of one node: reuse of its published outputs, or its work."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from dermrobust.attacks.errors import UserError
from dermrobust.components import storage
from dermrobust.components.artifacts import Artifact, ArtifactStore, Provenance
from dermrobust.components.beam_runtime import BeamRuntime
from dermrobust.components.component import Context
from dermrobust.components.fingerprint import library_versions
from dermrobust.components.progress import Progress, Task
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.ledger import Ledger
from dermrobust.pipeline.local_files import lock_path
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
    """

    run: str
    config: PipelineConfig
    store: ArtifactStore
    ledger: Ledger
    progress: Progress
    selected: frozenset[str]
    force: bool
    results: list[NodeResult] = field(default_factory=list)

    def waiting(self, who: str) -> Callable[[], None]:
        """Return a function that reports that another run holds a lock."""
        return lambda: self.progress.line(f"{who}: another run is at the same work; waiting for it")


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
    if not forced and (present := _present(session.store, node, key)) is not None:
        return NodeResult(node.id, CACHED, time.monotonic() - started, present)
    if not selected:
        raise UserError(
            f"{node.id}: there is no result of this stage for the present config, data and code. "
            f"Run it first: dermrobust run --to {node.stage}"
        )
    with locked(lock_path(session.config, key), session.waiting(node.id)):
        # Another run may have done the work while this one waited for the lock.
        if not forced and (present := _present(session.store, node, key)) is not None:
            return NodeResult(node.id, CACHED, time.monotonic() - started, present)
        outputs = _execute(session, node, inputs, key)
    return NodeResult(node.id, DONE, time.monotonic() - started, outputs)


def _present(store: ArtifactStore, node: Node, key: str) -> dict[str, Artifact] | None:
    """Return the outputs of a node if all of them exist."""
    found = {name: store.find(type_, key) for name, type_ in node.component.outputs.items()}
    present = {name: artifact for name, artifact in found.items() if artifact is not None}
    return present if len(present) == len(found) else None


def _execute(session: Session, node: Node, inputs: Inputs, key: str) -> dict[str, Artifact]:
    """Do the work of a node and publish its outputs."""
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
        # The next execution continues from the finished files of a resumable component.
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
    """Progress whose tasks and lines carry the id of their node instead of the name of its stage."""

    def __init__(self, progress: Progress, label: str) -> None:
        self._progress, self._label = progress, label

    def task(self, description: str, total: int | None, unit: str) -> contextlib.AbstractContextManager[Task]:
        # A stage of one node describes its task better than its id does.
        return self._progress.task(self._label if "[" in self._label else description, total, unit)

    def line(self, text: str) -> None:
        stage, separator, rest = text.partition(": ")
        self._progress.line(f"{self._label}: {rest}" if separator and stage in self._label else text)
