"""Share of a run's time that goes into hashing, manifests, verification, fingerprints, the ledger and locks.

    python -m benchmarks.overhead [--config configs/ham10000.json] [--set KEY=VALUE]

Target: under 3 % of a real run. The run is in this process, in a root of its own; what is measured is the time inside
of the functions below, each counted where it is not called by another of them.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.measure import machine
from dermrobust.components.artifacts import ArtifactStore
from dermrobust.components.fingerprint import fingerprint
from dermrobust.components.integrity import check
from dermrobust.components.progress import Silent
from dermrobust.pipeline import execution, node_runs, recording, runner
from dermrobust.pipeline.cleaning import clean_up
from dermrobust.pipeline.config_files import load_config
from dermrobust.pipeline.ledger import Ledger
from dermrobust.pipeline.locks import locked

_MEASURED: tuple[tuple[str, Any, tuple[Callable[..., Any], ...]], ...] = (
    ("hashing and manifests", ArtifactStore, (ArtifactStore.publish, ArtifactStore.find, ArtifactStore.stage)),
    ("verification", execution, (execution.published, execution.make_ready)),
    ("verification", node_runs, (execution.published,)),
    ("verification", runner, (check,)),
    ("fingerprints", execution, (fingerprint,)),
    ("ledger", Ledger, (Ledger.__init__, Ledger.begin_run, Ledger.end_run, Ledger.record, Ledger.durations)),
    ("locks and cleaning", runner, (clean_up,)),
)
"""What is measured: name, the owner by which they are called, and functions."""


class Clock:
    """Seconds by what they were spent on; of nested calls the outermost counts."""

    def __init__(self) -> None:
        self.seconds = defaultdict[str, float](float)
        self.calls = Counter[str]()
        self._inside = threading.local()

    def measured(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function whose time is counted."""

        @functools.wraps(function)
        def timed(*arguments: Any, **options: Any) -> Any:
            if getattr(self._inside, "any", False):
                return function(*arguments, **options)
            self._inside.any = True
            started = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                self.seconds[name] += time.perf_counter() - started
                self.calls[name] += 1
                self._inside.any = False

        return timed

    def measured_lock(self, name: str, lock: Callable[..., Any]) -> Callable[..., Any]:
        """Return a context manager of which taking and releasing are counted, and what is done in between is not."""

        @contextlib.contextmanager
        def timed(*arguments: Any, **options: Any) -> Iterator[None]:
            with contextlib.ExitStack() as held:
                self.measured(name, held.enter_context)(lock(*arguments, **options))
                try:
                    yield
                finally:
                    self.measured(name, held.close)()

        return timed


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default=None, help="config file; default: the embedded one")
    parser.add_argument("--set", dest="overrides", action="append", default=[], help="override a key")
    options = parser.parse_args()
    print(machine(), flush=True)
    clock = Clock()
    for name, owner, functions in _MEASURED:
        for function in functions:
            setattr(owner, function.__name__, clock.measured(name, function))
    for owner in (execution, recording, runner):
        setattr(owner, locked.__name__, clock.measured_lock("locks and cleaning", locked))
    with tempfile.TemporaryDirectory() as folder:
        # In a second process nothing would be measured.
        config = load_config(options.config, [*options.overrides, f"root={folder}", "second_process=false"])
        started = time.perf_counter()
        result = runner.run_pipeline(config, Silent(), first="ingest", last="export", force=False)
        whole = time.perf_counter() - started
    for name, seconds in sorted(clock.seconds.items(), key=lambda item: -item[1]):
        print(f"{name:24s} {seconds:8.2f} s {seconds / whole:7.2%}   {clock.calls[name]} calls")
    together = sum(clock.seconds.values())
    print(
        f"{'together':24s} {together:8.2f} s {together / whole:7.2%}   of {whole:.1f} s (exit code {result.exit_code})"
    )


if __name__ == "__main__":
    main()
