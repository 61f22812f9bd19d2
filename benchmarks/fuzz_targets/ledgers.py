"""Ledgers."""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from benchmarks.fuzz_targets.changes import PLACES, apply, changed
from dermrobust.attacks.errors import UserError


@functools.cache
def _ledger() -> bytes:
    from dermrobust.pipeline.ledger import Ledger

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ledger.sqlite")
        ledger = Ledger(path)
        ledger.begin_run("20260101T000000-aaaaaa", {"seed": 1})
        ledger.record(
            "20260101T000000-aaaaaa",
            node="gate",
            stage="evaluate",
            component="gate",
            fingerprint="f" * 32,
            status="done",
            seconds=1.5,
            message="",
            inputs={},
            outputs={},
        )
        return path.read_bytes()


def ledgers() -> SearchStrategy[bytes]:
    """Return ledgers with a few changes."""
    whole = st.deferred(lambda: st.just(_ledger()))
    byte = st.tuples(st.just("r"), PLACES, st.binary(min_size=1, max_size=2))
    used = st.tuples(st.just("r"), st.sampled_from(_used(_ledger())), st.binary(min_size=1, max_size=2))
    bytes_ = st.builds(apply, whole, st.lists(st.one_of(byte, used), min_size=1, max_size=3))
    return st.one_of(bytes_, changed(whole))


def _used(content: bytes) -> list[int]:
    """Return the places that are not zero: most of a ledger is free space."""
    return [place for place, byte in enumerate(content) if byte]


def read_ledger(content: bytes, folder: Path) -> None:
    """Use a ledger as the commands do."""
    root = folder / "root"
    root.mkdir(exist_ok=True)
    (root / "ledger.sqlite").write_bytes(content)
    use_ledger(root)


def use_ledger(root: Path) -> None:
    """Read a root's ledger as the commands do that list runs, show results and find garbage."""
    from dermrobust.pipeline.config import PipelineConfig
    from dermrobust.pipeline.garbage import disk_use
    from dermrobust.pipeline.history import latest_evaluation, recent_runs
    from dermrobust.pipeline.ledger import Ledger
    from dermrobust.pipeline.local_files import ledger_path

    config = PipelineConfig(root=str(root))
    ledger = Ledger(ledger_path(config))
    for run in recent_runs(config, 10):
        json.dumps(ledger.run(run["id"]))
    ledger.durations()
    disk_use(config)
    try:
        latest_evaluation(config)
    except UserError as refusal:
        # Nothing was evaluated.
        if "cannot be used" in str(refusal):
            raise
