"""Progress of work in another process: reports become events, which are sent, and shown where they arrive."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dermrobust.components.progress import Progress, Task


@dataclass(frozen=True)
class Line:
    """A line."""

    text: str


@dataclass(frozen=True)
class Begun:
    """A task has begun; see `Progress.task`."""

    task: int
    description: str
    total: int | None
    unit: str


@dataclass(frozen=True)
class Advanced:
    """Units of a task are finished."""

    task: int
    amount: int


@dataclass(frozen=True)
class Noted:
    """A text belongs beside a task."""

    task: int
    text: str


@dataclass(frozen=True)
class Ended:
    """A task is over."""

    task: int


Event = Line | Begun | Advanced | Noted | Ended


class RemoteProgress:
    """Progress that sends its reports as events."""

    def __init__(self, send: Callable[[Event], object]) -> None:
        """Send events with a function."""
        self._send = send
        self._numbers = itertools.count()

    @contextlib.contextmanager
    def task(self, description: str, total: int | None, unit: str) -> Iterator[Task]:
        """See `Progress.task`."""
        number = next(self._numbers)
        self._send(Begun(number, description, total, unit))
        try:
            yield _RemoteTask(self._send, number)
        finally:
            self._send(Ended(number))

    def line(self, text: str) -> None:
        """See `Progress.line`."""
        self._send(Line(text))


class _RemoteTask:
    def __init__(self, send: Callable[[Event], object], number: int) -> None:
        self._send, self._number = send, number

    def advance(self, amount: int = 1) -> None:
        self._send(Advanced(self._number, amount))

    def note(self, text: str) -> None:
        self._send(Noted(self._number, text))


class ShownEvents:
    """Events of another process as reports of this one. Used as a context, at whose end all tasks are over."""

    def __init__(self, progress: Progress) -> None:
        """Report to a receiver."""
        self._progress = progress
        self._tasks: dict[int, tuple[Task, contextlib.ExitStack]] = {}

    def __enter__(self) -> ShownEvents:
        """Return this object."""
        return self

    def __exit__(self, *_: object) -> None:
        """End tasks whose process ended before them."""
        for number in list(self._tasks):
            self.show(Ended(number))

    def show(self, event: Event) -> None:
        """Report an event."""
        match event:
            case Line(text):
                self._progress.line(text)
            case Begun(number, description, total, unit):
                stack = contextlib.ExitStack()
                self._tasks[number] = stack.enter_context(self._progress.task(description, total, unit)), stack
            case Advanced(number, amount):
                self._tasks[number][0].advance(amount)
            case Noted(number, text):
                self._tasks[number][0].note(text)
            case Ended(number):
                self._tasks.pop(number)[1].close()
