"""The second process of a run: it does the work of nodes that the first one sends it.

It receives a `Start` and then `Work`; it sends a `Ready`, events of its progress, and a `Finished` for each `Work`.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from dermrobust.components.artifacts import ArtifactStore
from dermrobust.components.garbage_collection import collect_rarely
from dermrobust.components.parallel_executions import Outcome
from dermrobust.models.registry import NETWORKS
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.execution import Inputs, Session, run_or_reuse
from dermrobust.pipeline.interruption import interruptible
from dermrobust.pipeline.ledger import Ledger
from dermrobust.pipeline.local_files import ledger_path
from dermrobust.pipeline.nodes import Node
from dermrobust.pipeline.outcomes import NodeResult
from dermrobust.pipeline.remote_progress import Event, RemoteProgress


@dataclass(frozen=True)
class Start:
    """What the process needs before there is work.

    Attributes:
        networks: the networks that may be named, to which the program may have added its own.
        run: id of the run.
        config: config of the pipeline.
        selected: ids of the nodes that may do work.
        force: whether they do it even if their outputs exist.
    """

    networks: Mapping[str, str]
    run: str
    config: PipelineConfig
    selected: frozenset[str]
    force: bool


@dataclass(frozen=True)
class Work:
    """A node, its input artifacts and the fingerprint of its outputs."""

    node: Node
    inputs: Inputs
    key: str


@dataclass(frozen=True)
class Ready:
    """The process has imported what trainings need.

    Attributes:
        useful: whether it can do work; it ends if not.
    """

    useful: bool


@dataclass(frozen=True)
class Finished:
    """The outcome of work; without a result it has failed."""

    outcome: Outcome
    result: NodeResult | None = None


def main(descriptor: int) -> None:
    """Work until the first process is gone.

    Args:
        descriptor: descriptor of an end of a `multiprocessing.Pipe`.
    """
    # Ctrl-C reaches all processes of a terminal; the first one decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    collect_rarely()
    _die_first()
    with interruptible(), contextlib.suppress(KeyboardInterrupt, EOFError, BrokenPipeError):
        _serve(Connection(descriptor))


def _die_first() -> None:
    """Let Linux end this process before the first one, which does its work then, when memory is short."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _serve(connection: Connection) -> None:
    start = connection.recv()
    assert isinstance(NETWORKS.entries, dict)
    NETWORKS.entries.update(start.networks)
    # Before there is work, since the imports take long.
    import tensorflow as tf

    import dermrobust.components.train.executor  # noqa: F401

    if tf.config.list_physical_devices("GPU"):
        # It is busy with one training.
        connection.send(Ready(useful=False))
        return
    sending = threading.Lock()

    def send(message: Event | Finished) -> None:
        # Files are counted in a thread of their own, and parts of two messages must not mix.
        with sending:
            connection.send(message)

    session = Session(
        run=start.run,
        config=start.config,
        store=ArtifactStore(start.config.root),
        ledger=Ledger(ledger_path(start.config)),
        progress=RemoteProgress(send),
        selected=start.selected,
        force=start.force,
    )
    connection.send(Ready(useful=True))
    waiting: queue.SimpleQueue[Work] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, waiting), name="receive", daemon=True).start()
    while True:
        send(_finished(session, waiting.get()))


def _receive(connection: Connection, waiting: queue.SimpleQueue[Work]) -> None:
    """Receive work until the first process is gone; this one ends then, also in the middle of its work."""
    try:
        while True:
            waiting.put(connection.recv())
    finally:
        os._exit(1)


def _finished(session: Session, work: Work) -> Finished:
    started = time.monotonic()
    try:
        result = run_or_reuse(session, work.node, work.inputs, work.key)
    except Exception as error:
        return Finished(Outcome.failed(error, time.monotonic() - started))
    return Finished(Outcome(seconds=result.seconds), result)
