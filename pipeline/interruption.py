"""Signals that ask a run to end."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator, Sequence
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
"""What the open contexts have received."""


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
    # A process that was told to ignore a signal goes on ignoring it, as shells ask of commands in the background.
    with _receiving([number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]) as received:
        yield received


@contextlib.contextmanager
def interruptible_by_ctrl_c() -> Iterator[None]:
    """Raise KeyboardInterrupt for SIGINT as Python does, and also where Beam makes another error of it.

    For runs of the Python API: the caller decides about signals, so nothing changes where SIGINT has another handler
    than Python's own, such as that of `interruptible`.
    """
    python_handles = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with _receiving([signal.SIGINT] if python_handles else []) as received:
        try:
            yield
        except Exception as error:
            if received.signal is None:
                raise
            raise KeyboardInterrupt from error


@contextlib.contextmanager
def _receiving(numbers: Sequence[signal.Signals]) -> Iterator[Interruption]:
    """Raise KeyboardInterrupt for some signals, and yield which of them was received."""
    received = Interruption()
    if not numbers or threading.current_thread() is not threading.main_thread():
        yield received
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        del frame
        received.signal = signal.Signals(number)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in numbers}
    _active.append(received)
    try:
        yield received
    finally:
        _active.pop()
        for number, handler in before.items():
            signal.signal(number, handler)
