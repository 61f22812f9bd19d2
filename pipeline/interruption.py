"""Signals that ask a run to end."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class Interruption:
    """The signal that was received, if any."""

    signal: signal.Signals | None = None

    @property
    def exit_code(self) -> int:
        """Exit code of a process that ends because of the signal: 130 for SIGINT, 143 for SIGTERM."""
        assert self.signal is not None
        return 128 + self.signal


_active: list[Interruption] = []
"""What the contexts of `interruptible` that are open have received."""


def end_if_interrupted() -> None:
    """Raise KeyboardInterrupt if a signal has asked the work of this process to end.

    The exception that the signal raised may have become another one on its way, or have been dropped; to be called
    where an error would otherwise let other work go on.
    """
    if any(each.signal is not None for each in _active):
        raise KeyboardInterrupt


@contextlib.contextmanager
def interruptible() -> Iterator[Interruption]:
    """Raise KeyboardInterrupt for SIGINT and SIGTERM, and yield which of them was received.

    Beam turns exceptions of its workers into others, so the exception alone does not tell. In a thread that is not the
    main one nothing changes, since signals cannot be handled there.
    """
    received = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        del frame
        received.signal = signal.Signals(number)
        raise KeyboardInterrupt

    # A process that was told to ignore a signal goes on ignoring it, as shells ask of commands in the background.
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    taken = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in taken:
        signal.signal(number, interrupt)
    _active.append(received)
    try:
        yield received
    finally:
        _active.pop()
        for number in taken:
            signal.signal(number, before[number])
