"""Nodes beside others: a second process on this machine does some of a run's nodes while this one does the rest."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import psutil

from dermrobust.components.artifacts import ArtifactType
from dermrobust.models.registry import NETWORKS
from dermrobust.pipeline import second_process
from dermrobust.pipeline.execution import Inputs, Session
from dermrobust.pipeline.node_runs import run_node
from dermrobust.pipeline.nodes import Node, upstream_of
from dermrobust.pipeline.outcomes import NodeResult
from dermrobust.pipeline.remote_progress import ShownEvents
from dermrobust.pipeline.second_process import Finished, Start, Work

_SMALL_IMAGE = 32
"""Largest side in pixels. At 32 a run was faster with two processes, and at 64 it was not."""
_FREE_GIB = 6.0
"""Memory that must be available: two processes of the default take 2.3 GiB, and those of larger images more."""
_END_SECONDS = 10.0
"""Time that the second process has to remove its unfinished files when a run is interrupted."""


def beside(
    session: Session, nodes: Sequence[Node], outcomes: Mapping[str, NodeResult]
) -> contextlib.AbstractContextManager[Beside | None]:
    """Return a context in which a second process does some nodes, or None where it would not help or cannot be started.

    Args:
        session: the run.
        nodes: nodes that have something to do, in the order in which this process does them.
        outcomes: outcomes of the other nodes that they need, by id.
    """
    if not _helps(session, nodes):
        return contextlib.nullcontext()
    try:
        return Beside(session, nodes, outcomes)
    except OSError as error:
        session.progress.line(f"run: no second process could be started: {error}")
        return contextlib.nullcontext()


def _helps(session: Session, nodes: Sequence[Node]) -> bool:
    """Return whether a run is faster with a second process, and may have one.

    A step on small images leaves a core idle, and one on larger images does not. Other work alone would not pay for
    another import of TensorFlow.
    """
    size = session.config.preprocess.image_size
    trainings = [node for node in nodes if _trains(node) and node.id in session.selected]
    return (
        session.config.second_process
        and os.name == "posix"
        and session.config.beam.runner == "DirectRunner"
        and max((size,) if isinstance(size, int) else size) <= _SMALL_IMAGE
        and _cores() > 1
        and psutil.virtual_memory().available >= _FREE_GIB * 2**30
        and any(not _needs(nodes, two, one.id) for one, two in _pairs(trainings))
    )


def _cores() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _trains(node: Node) -> bool:
    return node.component.concurrent and ArtifactType.MODEL in node.component.outputs.values()


def _pairs(nodes: Sequence[Node]) -> Iterator[tuple[Node, Node]]:
    return ((one, two) for index, one in enumerate(nodes) for two in nodes[index + 1 :])


def _needs(nodes: Sequence[Node], node: Node, id_: str) -> bool:
    """Return whether a node needs another one, directly or not."""
    by_id = {each.id: each for each in nodes}
    waiting, seen = [node.id], set[str]()
    while waiting:
        found = waiting.pop()
        if found == id_:
            return True
        if found in by_id and found not in seen:
            seen.add(found)
            waiting += upstream_of(by_id[found])
    return False


class _Gone(BaseException):
    """The second process is gone. No `Exception`, which would be recorded as the failure of a node."""


class Beside:
    """Division of a run's nodes between this process and a second one. Used as a context.

    This process does the nodes in their order. The second one takes the last one that is ready whenever it has nothing
    to do, so that both seldom wait for each other.
    """

    def __init__(self, session: Session, nodes: Sequence[Node], outcomes: Mapping[str, NodeResult]) -> None:
        """Start the second process.

        Args:
            session: the run.
            nodes: nodes in the order in which this process does them.
            outcomes: outcomes of the other nodes that they need, by id.

        Raises:
            OSError: the system has no room for another process.
        """
        self._session, self._nodes = session, nodes
        self._outcomes = dict(outcomes)
        self._here: set[str] = set()
        self._there: str | None = None
        self._over = False
        self._changed = threading.Condition()
        self._connection, theirs = multiprocessing.Pipe()
        # With -m its module would be `__main__`, and the classes of its messages others than here.
        program = f"from {second_process.__name__} import main; main({theirs.fileno()})"
        # It finds the modules that this one finds, and none because it was started in their folder.
        path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", program],
                pass_fds=(theirs.fileno(),),
                env={**os.environ, "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                # What libraries print must not get between the results of this process.
                stdout=2,
            )
        self._thread = threading.Thread(target=self._supply, name="second process", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        """Return this object."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the second process; what it had not finished is lost."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
        self._process.terminate()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._thread.join()
        self._connection.close()

    def outcome(self, node: Node) -> NodeResult | None:
        """Return the outcome of a node that the second process has done or is doing; None: it is this one's to do."""
        with self._changed:
            self._changed.wait_for(lambda: self._there != node.id or self._over)
            if self._over:
                raise RuntimeError("the run has been interrupted")
            if node.id not in self._outcomes:
                self._here.add(node.id)
            return self._outcomes.get(node.id)

    def add(self, result: NodeResult) -> None:
        """Tell the outcome of a node that this process has done."""
        with self._changed:
            self._outcomes[result.node] = result
            self._changed.notify_all()

    def _supply(self) -> None:
        """Give work to the second process until it is gone, or there is no more."""
        session = self._session
        try:
            self._send(
                Start(
                    networks=dict(NETWORKS.entries),
                    run=session.run,
                    config=session.config,
                    selected=session.selected,
                    force=session.force,
                )
            )
            if self._receive().useful:
                while (node := self._next()) is not None:
                    self._do(node)
        except _Gone as gone:
            if not self._over:
                session.progress.line(f"run: the second process has ended ({gone}); this one goes on without it")
        with self._changed:
            self._there = None
            self._changed.notify_all()

    def _next(self) -> Node | None:
        """Wait for a node that the second process can do, and return it; None: there will be none."""
        with self._changed:
            while not self._over:
                left = [node for node in self._nodes if self._free(node)]
                for node in reversed(left):
                    if set(upstream_of(node)) <= self._outcomes.keys():
                        self._there = node.id
                        return node
                self._changed.wait()
        return None

    def _free(self, node: Node) -> bool:
        taken = node.id in self._here or node.id in self._outcomes
        return node.component.concurrent and node.id in self._session.selected and not taken

    def _do(self, node: Node) -> None:
        """Let the second process do a node, and record what comes of it."""
        upstream = tuple(self._outcomes[name] for name in upstream_of(node))
        result = run_node(self._session, node, upstream, self._done_there)
        with self._changed:
            self._there = None
        self.add(result)

    def _done_there(self, session: Session, node: Node, inputs: Inputs, key: str) -> NodeResult:
        """Return the outcome of a node that the second process does, or raise its error; see `run_or_reuse`."""
        with ShownEvents(session.progress) as shown:
            self._send(Work(node, inputs, key))
            while not isinstance(message := self._receive(), Finished):
                shown.show(message)
        message.outcome.check()
        assert message.result is not None
        return message.result

    def _send(self, message: Start | Work) -> None:
        try:
            self._connection.send(message)
        except Exception as error:  # Pickling raises errors of many classes.
            raise _Gone(f"{type(error).__name__}: {error}") from error

    def _receive(self) -> Any:
        try:
            return self._connection.recv()
        except Exception as error:  # So does unpickling.
            raise _Gone(type(error).__name__) from error
