"""Progress for people: a bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Task as RichTask
from rich.text import Text

from dermrobust.components.progress import Progress as ProgressProtocol
from dermrobust.components.progress import Task

_LINE_SECONDS = 15.0


class _Rate(ProgressColumn):
    """Units a second."""

    def render(self, task: RichTask) -> Text:
        """See rich."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.1f} {task.fields['unit']}/s", style="progress.data.speed")


class _BarTask:
    def __init__(self, bars: Progress, task: TaskID) -> None:
        self._bars, self._task = bars, task

    def advance(self, amount: int = 1) -> None:
        self._bars.advance(self._task, amount)

    def note(self, text: str) -> None:
        self._bars.update(self._task, note=text)


class TerminalProgress:
    """Bars on a terminal."""

    def __init__(self, console: Console) -> None:
        """Draw on a console."""
        self._console = console

    @contextlib.contextmanager
    def task(self, description: str, total: int | None, unit: str) -> Iterator[Task]:
        """See `Progress.task`."""
        columns: tuple[str | ProgressColumn, ...] = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=self._console, transient=True) as bars:
            yield _BarTask(bars, bars.add_task(description, total=total, unit=unit, note=""))

    def line(self, text: str) -> None:
        """See `Progress.line`."""
        self._console.print(text, highlight=False, markup=False)


class _LineTask:
    """Prints where a task stands, at most every so many seconds."""

    def __init__(self, console: Console, description: str, total: int | None, unit: str) -> None:
        self._console, self._description, self._total, self._unit = console, description, total, unit
        self._done, self._note = 0, ""
        self._started = self._printed = time.monotonic()

    def advance(self, amount: int = 1) -> None:
        self._done += amount
        now = time.monotonic()
        if now - self._printed >= _LINE_SECONDS and self._done:
            self._printed = now
            self._console.print(self._text(now - self._started), highlight=False, markup=False)

    def note(self, text: str) -> None:
        self._note = text

    def _text(self, elapsed: float) -> str:
        rate = self._done / elapsed
        of = "" if self._total is None else f" of {self._total}"
        left = "" if self._total is None else f", {max(0.0, (self._total - self._done) / rate):.0f} s left"
        note = f", {self._note}" if self._note else ""
        return f"{self._description}: {self._done}{of} {self._unit} ({rate:.1f}/s{left}{note})"


class PlainProgress:
    """Lines, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        """Print to a console."""
        self._console = console

    @contextlib.contextmanager
    def task(self, description: str, total: int | None, unit: str) -> Iterator[Task]:
        """See `Progress.task`."""
        yield _LineTask(self._console, description, total, unit)

    def line(self, text: str) -> None:
        """See `Progress.line`."""
        self._console.print(text, highlight=False, markup=False)


def progress_on(console: Console) -> ProgressProtocol:
    """Return what fits a console."""
    return TerminalProgress(console) if console.is_terminal else PlainProgress(console)
