"""Progress on the terminal: bars with rate and time left, or plain lines where there is no terminal."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol, TextIO, TypeVar

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

from dermrobust.attacks.errors import UserError
from dermrobust.components.progress import Progress as ProgressProtocol
from dermrobust.components.progress import Task
from dermrobust.pipeline.cli.console import Console
from dermrobust.pipeline.cli.library_output import library_output_to
from dermrobust.pipeline.cli.terminal import echo, echo_error, printable
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.interruption import interruptible
from dermrobust.pipeline.local_files import library_log
from dermrobust.pipeline.outcomes import NodeResult
from dermrobust.pipeline.report.wording import duration

_LINE_SECONDS = 15.0


class _HasNodes(Protocol):
    """Outcome of one or several runs."""

    @property
    def nodes(self) -> tuple[NodeResult, ...]:
        """Outcomes of the nodes."""


_Result = TypeVar("_Result", bound=_HasNodes)


class _Rate(ProgressColumn):
    """Column with the units per second."""

    def render(self, task: RichTask) -> Text:
        """See `rich.progress.ProgressColumn`."""
        speed = task.finished_speed or task.speed
        return Text("" if not speed else pace(speed, task.fields["unit"]), style="progress.data.speed")


class _BarTask:
    def __init__(self, bars: Progress, task: TaskID) -> None:
        self._bars, self._task = bars, task

    def advance(self, amount: int = 1) -> None:
        self._bars.advance(self._task, amount)

    def note(self, text: str) -> None:
        self._bars.update(self._task, note=printable(text))


class TerminalProgress:
    """Progress bars on a terminal."""

    def __init__(self, console: Console) -> None:
        """Draw on a console, which must be a terminal."""
        self._console = console
        # A console draws one display at a time, and nodes may run side by side: all tasks share it.
        self._drawing = threading.Lock()
        self._bars: Progress | None = None

    @contextlib.contextmanager
    def task(self, description: str, total: int | None, unit: str) -> Iterator[Task]:
        """See `Progress.task`."""
        with self._drawing:
            bars = self._bars = self._bars or self._started()
            task = bars.add_task(printable(description), total=total, unit=unit, note="")
        try:
            yield _BarTask(bars, task)
        finally:
            with self._drawing:
                bars.remove_task(task)
                if bars.tasks:
                    bars.refresh()
                else:
                    bars.stop()
                    self._bars = None

    def _started(self) -> Progress:
        columns: tuple[str | ProgressColumn, ...] = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        bars = Progress(*columns, console=self._console, transient=True)
        bars.start()
        return bars

    def line(self, text: str) -> None:
        """See `Progress.line`."""
        self._console.print(text)


class _LineTask:
    """Task that prints its state, at most every 15 seconds."""

    def __init__(self, console: Console, description: str, total: int | None, unit: str) -> None:
        self._console, self._description, self._total, self._unit = console, description, total, unit
        self._done, self._note = 0, ""
        self._started = self._printed = time.monotonic()

    def advance(self, amount: int = 1) -> None:
        self._done += amount
        now = time.monotonic()
        if now - self._printed >= _LINE_SECONDS and self._done:
            self._printed = now
            self._console.print(self._text(now - self._started))

    def note(self, text: str) -> None:
        self._note = text

    def _text(self, elapsed: float) -> str:
        rate = self._done / elapsed
        of = "" if self._total is None else f" of {self._total}"
        rest = 0 if self._total is None else self._total - self._done
        left = f", {duration(rest / rate)} left" if rest > 0 else ""
        note = f", {self._note}" if self._note else ""
        return f"{self._description}: {self._done}{of} {self._unit} ({pace(rate)}{left}{note})"


def pace(rate: float, unit: str = "") -> str:
    """Return units per second for readers: "2.1 steps/s"; "20 s each" where one takes more than a second."""
    if rate < 1.0:
        return f"{duration(1.0 / rate)} each"
    return f"{rate:,.1f} {unit}/s".replace(" /", "/")


class PlainProgress:
    """Progress in plain lines, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        """Print to a console, which may be a file."""
        self._console = console

    @contextlib.contextmanager
    def task(self, description: str, total: int | None, unit: str) -> Iterator[Task]:
        """See `Progress.task`."""
        yield _LineTask(self._console, description, total, unit)

    def line(self, text: str) -> None:
        """See `Progress.line`."""
        self._console.print(text)


def progress_on(console: Console) -> ProgressProtocol:
    """Return bars if a console is a terminal, otherwise lines."""
    return TerminalProgress(console) if console.is_terminal else PlainProgress(console)


@contextlib.contextmanager
def _library_output(config: PipelineConfig) -> Iterator[TextIO]:
    """See `library_output_to`; a root that cannot be written is a mistake of the user."""
    with contextlib.ExitStack() as stack:
        try:
            stream = stack.enter_context(library_output_to(library_log(config)))
        except OSError as error:
            raise UserError(
                f"the root '{config.root}' cannot be written: {error.strerror}: '{error.filename}'"
            ) from error
        yield stream


def with_progress(config: PipelineConfig, work: Callable[[ProgressProtocol], _Result]) -> _Result:
    """Do work with progress on stderr and the output of libraries in a file, and print the reasons of failures.

    Args:
        config: config of the pipeline, whose root holds the file.
        work: function of the progress; it imports what it needs, since libraries print while they are imported.

    SIGINT and SIGTERM end the process with a message and the exit codes 130 and 143.
    """
    with interruptible() as interruption:
        try:
            with _library_output(config) as stderr:
                result = work(progress_on(Console(file=stderr)))
        except BaseException:
            if interruption.signal is None:
                raise
            echo("interrupted: finished work is kept, and the same command goes on from there", err=True)
            sys.exit(interruption.exit_code)
    for node in result.nodes:
        # What was skipped has a message, too.
        if node.message and node.exit_code:
            echo_error(node.message)
    return result
