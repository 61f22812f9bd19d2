"""How long work tells how far it is, without knowing who listens."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Protocol

from dermrobust.components import storage

_POLL_SECONDS = 0.5


class Task(Protocol):
    """A piece of work with a known size."""

    def advance(self, amount: int = 1) -> None:
        """Report that so much more is done."""

    def note(self, text: str) -> None:
        """Show a short remark beside the task, such as the latest loss."""


class Progress(Protocol):
    """Somebody who shows tasks."""

    def task(self, description: str, total: int | None, unit: str) -> contextlib.AbstractContextManager[Task]:
        """Begin a task of `total` units (None: not known yet); it ends with the context."""

    def line(self, text: str) -> None:
        """Show one line."""


class _SilentTask:
    def advance(self, amount: int = 1) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""


class Silent:
    """Progress that nobody watches."""

    @contextlib.contextmanager
    def task(self, description: str, total: int | None, unit: str) -> Iterator[Task]:
        """See `Progress.task`."""
        yield _SilentTask()

    def line(self, text: str) -> None:
        """Do nothing."""


@contextlib.contextmanager
def watch_files(progress: Progress, description: str, uri: str, suffix: str, total: int | None) -> Iterator[None]:
    """Report finished files below a URI while the context runs: works for workers on any machine."""
    finished = threading.Event()

    def watch(task: Task) -> None:
        seen = 0
        while not finished.wait(_POLL_SECONDS):
            count = sum(name.endswith(suffix) for name in storage.list_files(uri))
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
