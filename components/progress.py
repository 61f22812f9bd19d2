"""Progress-reporting protocol."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Protocol

from dermrobust.components import storage

_POLL_SECONDS = 0.5
_PAUSE_RATIO = 20
"""Smallest pause between listings, in durations of one: they take 5 % of the time at most."""


class Task(Protocol):
    """Work of a known size, such as one epoch."""

    def advance(self, amount: int = 1) -> None:
        """Add finished units."""

    def note(self, text: str) -> None:
        """Show a short text beside the task, such as the latest loss."""


class Progress(Protocol):
    """Receiver of progress reports, such as a terminal."""

    def task(self, description: str, total: int | None, unit: str) -> contextlib.AbstractContextManager[Task]:
        """Begin a task of `total` units, None if unknown; leaving the context ends it."""

    def line(self, text: str) -> None:
        """Print one line."""


class _SilentTask:
    def advance(self, amount: int = 1) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""


class Silent:
    """Progress that discards all reports."""

    @contextlib.contextmanager
    def task(self, description: str, total: int | None, unit: str) -> Iterator[Task]:
        """See `Progress.task`."""
        yield _SilentTask()

    def line(self, text: str) -> None:
        """Do nothing."""


@contextlib.contextmanager
def watch_files(progress: Progress, description: str, uri: str, suffix: str, total: int | None) -> Iterator[None]:
    """Report the number of finished files below a URI while the context is open.

    Beam offers no callback that reaches this process from workers elsewhere; the files that they write do.
    """
    finished = threading.Event()

    def watch(task: Task) -> None:
        seen, pause = 0, _POLL_SECONDS
        while not finished.wait(pause):
            started = time.monotonic()
            count = sum(name.endswith(suffix) for name in storage.list_files(uri))
            # Of many files a listing takes long; it must not occupy this process, in which workers may run.
            pause = max(_POLL_SECONDS, _PAUSE_RATIO * (time.monotonic() - started))
            # A retried bundle replaces files, so the count may fall for a moment.
            task.advance(max(0, count - seen))
            seen = max(seen, count)
        task.advance(max(0, (total or seen) - seen))

    with progress.task(description, total, "shards") as task:
        watcher = threading.Thread(target=watch, args=(task,), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            finished.set()
            watcher.join()
