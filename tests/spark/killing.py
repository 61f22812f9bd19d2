"""Death of a worker in the middle of a job."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

_SECONDS = 1800


def executors(cluster: Path) -> list[psutil.Process]:
    """The JVMs in which the cluster's workers run tasks; their Python processes end with them."""
    daemons = [psutil.Process(int(path.read_text().split()[0])) for path in cluster.glob("worker-*.pid")]
    found = []
    for child in (child for daemon in daemons for child in daemon.children()):
        # A process that has just ended has no command any more.
        with contextlib.suppress(psutil.NoSuchProcess):
            if "CoarseGrainedExecutorBackend" in " ".join(child.cmdline()):
                found.append(child)
    return found


@contextlib.contextmanager
def one_killed_when(happened: Callable[[], Any], cluster: Path) -> Iterator[list[int]]:
    """Kill an executor as soon as something has happened; yields the ids of the killed processes."""
    killed: list[int] = []
    over = threading.Event()

    def watch() -> None:
        until, seen = time.monotonic() + _SECONDS, None
        while not killed and not over.wait(0.02) and time.monotonic() < until:
            # Folders that are looked at may vanish meanwhile.
            with contextlib.suppress(FileNotFoundError):
                seen = happened()
            for victim in executors(cluster)[:1] if seen else ():
                with contextlib.suppress(psutil.NoSuchProcess):
                    victim.kill()
                    killed.append(victim.pid)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()
