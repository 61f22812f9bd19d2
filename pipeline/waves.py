"""Waves: nodes of several runs that do not need each other, done side by side on the Beam engine."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from dermrobust.attacks.errors import UserError
from dermrobust.components.beam_runtime import BeamRuntime
from dermrobust.components.execution import Execution
from dermrobust.components.parallel_executions import Outcome, run_side_by_side
from dermrobust.components.progress import Progress
from dermrobust.pipeline.execution import Inputs, Session, labelled, make_ready, published
from dermrobust.pipeline.local_files import lock_path
from dermrobust.pipeline.locks import locked
from dermrobust.pipeline.node_runs import inputs_of, run_node
from dermrobust.pipeline.nodes import Node
from dermrobust.pipeline.outcomes import CACHED, DONE, NodeResult


@dataclass(frozen=True)
class Ready:
    """A node that can run.

    Attributes:
        session: its run.
        node: the node.
        upstream: outcomes of the nodes that it needs.
    """

    session: Session
    node: Node
    upstream: tuple[NodeResult, ...]

    def inputs(self) -> Inputs:
        """Return its input artifacts."""
        return inputs_of(self.node, self.upstream)

    def execution(self, key: str) -> Execution:
        """Return its work, whose outputs have this fingerprint."""
        return Execution(self.node.id, self.node.component, self.node.params, self.inputs(), key)

    def progress(self) -> Progress:
        """Return the receiver of its progress reports."""
        return labelled(self.session.progress, self.node.id)


class _Wave:
    """Work of a wave by fingerprint, and its outcomes."""

    def __init__(self, ready: Sequence[Ready]) -> None:
        self._ready = ready
        self._keys = [_key(each) for each in ready]
        self._seconds: dict[str, float] = {}
        self._errors: dict[str, Exception] = {}
        self._results: dict[int, NodeResult] = {}

    def missing(self) -> dict[str, Ready]:
        """Return the nodes whose outputs are not published by fingerprint, the first one of each."""
        found: dict[str, Ready] = {}
        for key, each in zip(self._keys, self._ready, strict=True):
            if key is not None and published(each.session.store, each.node, key) is None:
                found.setdefault(key, each)
        return found

    def run(self) -> None:
        """Do what is missing."""
        missing, executions = self.missing(), []
        for key, each in missing.items():
            try:
                make_ready(each.session, each.node, each.inputs(), key)
                executions.append(each.execution(key))
            except UserError as error:
                self._errors[key] = error
        if executions:
            outcomes = run_side_by_side(
                self._runtime(),
                executions,
                self._outcomes_folder(executions[0]),
                listener=lambda execution: missing[execution.fingerprint].progress(),
                finished=self._finish,
            )
            for key, outcome in outcomes.items():
                self._finish(key, outcome)

    def _outcomes_folder(self, execution: Execution) -> str:
        """Return a staging folder of an execution whose lock is held; the next run removes it if this one is killed."""
        type_ = next(iter(execution.component.outputs.values()))
        return self._ready[0].session.store.stage(type_, execution.fingerprint)

    def _runtime(self) -> BeamRuntime:
        config = self._ready[0].session.config
        return BeamRuntime(config.beam.runner, config.beam.options, config.root)

    def results(self) -> list[NodeResult]:
        """Return the outcomes of all nodes in their order; those that were not recorded yet are recorded now."""
        for index in range(len(self._ready)):
            self._record(index)
        return [self._results[index] for index in range(len(self._ready))]

    def _finish(self, key: str, outcome: Outcome) -> None:
        """Record the outcome of the work of a fingerprint, unless it is recorded."""
        if key in self._seconds:
            return
        try:
            outcome.check()
        except Exception as error:
            self._errors[key] = error
        self._seconds[key] = outcome.seconds
        for index, found in enumerate(self._keys):
            if found == key:
                self._record(index)

    def _record(self, index: int) -> None:
        if index not in self._results:
            each = self._ready[index]
            self._results[index] = run_node(each.session, each.node, each.upstream, self._outcome)

    def _outcome(self, session: Session, node: Node, inputs: Inputs, key: str) -> NodeResult:
        """Return the outcome of a node, or raise its error; see `run_or_reuse`."""
        del inputs
        if key in self._errors:
            raise self._errors[key]
        outputs = published(session.store, node, key)
        if outputs is None:
            raise RuntimeError("a worker has published the outputs, and they are not there")
        # The work of a fingerprint counts for the first node that has it.
        if key in self._seconds and self._keys.index(key) not in self._results:
            return NodeResult(node.id, DONE, self._seconds[key], outputs)
        return NodeResult(node.id, CACHED, outputs=outputs)


def _key(ready: Ready) -> str | None:
    """Return the fingerprint of a node's outputs, or None if it cannot run, of which `run_node` tells the reason."""
    if not all(result.ok for result in ready.upstream):
        return None
    with contextlib.suppress(Exception):
        return ready.session.key(ready.node, ready.inputs())
    return None


def run_wave(ready: Sequence[Ready]) -> list[NodeResult]:
    """Run nodes side by side, and return, record and report their outcomes in the given order.

    What is published already is not repeated, and work of the same fingerprint is done once.

    Args:
        ready: nodes of runs on one root and Beam engine.

    Raises:
        UserError: the Beam engine cannot be used.
    """
    wave = _Wave(ready)
    with contextlib.ExitStack() as locks:
        # In the order of the fingerprints, so that two waves at once do not wait for each other.
        for key, each in sorted(wave.missing().items(), key=lambda item: item[0]):
            locks.enter_context(locked(lock_path(each.session.config, key), each.session.waiting(each.node.id)))
        wave.run()
    return wave.results()
