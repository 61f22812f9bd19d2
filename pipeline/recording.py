"""Record of a run in the ledger: its start, the outcomes of its nodes, and its end."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dermrobust.attacks.errors import UserError
from dermrobust.pipeline.execution import Inputs, Session
from dermrobust.pipeline.local_files import garbage_lock, run_lock
from dermrobust.pipeline.locks import locked, locked_if_free
from dermrobust.pipeline.nodes import Node
from dermrobust.pipeline.outcomes import CACHED, DONE, FAILED, REFUSED, SKIPPED, NodeResult

_recording = threading.Lock()


@contextlib.contextmanager
def recorded(session: Session, settings: Mapping[str, Any]) -> Iterator[None]:
    """Record the start and the end of a run in the ledger, and hold the lock of the run between them.

    Args:
        session: the run.
        settings: JSON values that the ledger keeps as its config.
    """
    status = "interrupted"
    lock = run_lock(session.config, session.run)
    with locked_if_free(lock):
        with locked(garbage_lock(session.config), session.waiting("run")):
            session.ledger.begin_run(session.run, settings)
        try:
            yield
            status = "failed" if any(result.exit_code for result in session.results) else "succeeded"
        except UserError:
            status = "failed"
            raise
        finally:
            _in_ledger(session, lambda: session.ledger.end_run(session.run, status))
            lock.unlink(missing_ok=True)


def record(session: Session, node: Node, result: NodeResult, inputs: Inputs, key: str | None, seconds: float) -> None:
    """Add the outcome of a node to the session and the ledger, and report it."""
    with _recording:
        session.results.append(result)
        _in_ledger(
            session,
            lambda: session.ledger.record(
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
            ),
        )
    session.progress.line(_status_line(node, result, seconds))


def _status_line(node: Node, result: NodeResult, seconds: float) -> str:
    text = {
        DONE: f"done in {seconds:.1f} s",
        CACHED: "unchanged, not run again",
        FAILED: "failed",
        SKIPPED: f"skipped: {result.message}",
        REFUSED: "refused",
    }[result.status]
    return f"{node.id}: {text}"


def _in_ledger(session: Session, write: Callable[[], None]) -> None:
    """Write to the ledger; a disk that is full must not hide how the run ended."""
    try:
        write()
    except UserError as error:
        session.progress.line(f"this is not recorded: {error}")
