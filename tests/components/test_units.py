"""Units of work: small, joined in order, and done once however often an execution is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest

from dermrobust.components import storage
from dermrobust.components.beam_runtime import BeamRuntime
from dermrobust.components.evaluation.tables import read_tables
from dermrobust.components.progress import Silent
from dermrobust.components.units import Unit, run_units

SHARDS, PLACES = 2, 6
UNITS = [
    Unit("unused", shard, SHARDS, folder, place)
    for shard in range(SHARDS)
    for folder in ("left", "right")
    for place in range(PLACES)
]


class Compute:
    """Notes the units that it computes in a file, for workers may be other processes."""

    def __init__(self, log: Path, seconds: float = 0.0) -> None:
        self._log, self._seconds = log, seconds

    def __call__(self, unit: Unit) -> pa.Table:
        with self._log.open("a") as file:
            file.write(json.dumps([unit.folder, unit.shard, unit.place]) + "\n")
        time.sleep(self._seconds)
        return pa.table({"value": [f"{unit.folder} {unit.shard} {unit.place}", "second row"]})


def work(output: Path, log: Path, seconds: float = 0.0) -> None:
    """Also what the process that is killed runs."""
    run_units(BeamRuntime(), Silent(), str(output), UNITS, Compute(log, seconds))


def computed(log: Path) -> list[tuple[str, int, int]]:
    return [tuple(json.loads(line)) for line in log.read_text().splitlines()]


def contents(output: Path) -> dict[str, bytes]:
    return {name: storage.read_bytes(storage.join(str(output), name)) for name in storage.list_files(str(output))}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of an execution that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    work(folder / "output", folder / "log")
    assert sorted(computed(folder / "log")) == sorted((unit.folder, unit.shard, unit.place) for unit in UNITS)
    return folder / "output"


def test_tables_are_joined_by_folder_and_shard_in_the_order_of_places(whole: Path) -> None:
    names = storage.list_files(str(whole))

    assert names == [f"{folder}/part-{shard:05d}-of-00002.parquet" for folder in ("left", "right") for shard in (0, 1)]
    for name in names:
        folder, shard = name.split("/")[0], int(name.split("-")[1])
        rows = read_tables([str(whole / name)])["value"].to_pylist()
        assert rows[::2] == [f"{folder} {shard} {place}" for place in range(PLACES)]


@pytest.mark.slow
def test_a_killed_execution_goes_on_from_its_finished_units(whole: Path, tmp_path: Path) -> None:
    output, first, second = tmp_path / "output", tmp_path / "first", tmp_path / "second"
    code = f"from tests.components.test_units import *; work(Path({str(output)!r}), Path({str(first)!r}), 0.3)"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
    try:
        deadline = time.monotonic() + 600
        while len(list(output.rglob("*.parquet"))) < 3:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    kept = {path.relative_to(output / "units").as_posix() for path in output.rglob("units/**/*.parquet")}
    assert 3 <= len(kept) < len(UNITS)
    storage.remove_partial_files(str(output))  # as the store does before it hands the place on

    work(output, second)

    again = {f"{folder}/{shard:05d}/{place:05d}.parquet" for folder, shard, place in computed(second)}
    assert not again & kept
    assert len(again) + len(kept) == len(UNITS)
    assert contents(output) == contents(whole)


def test_an_execution_that_was_killed_after_joining_does_nothing_again(whole: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    for name, content in contents(whole).items():
        storage.write_bytes(storage.join(str(output), name), content)
    (tmp_path / "log").touch()

    work(output, tmp_path / "log")

    assert computed(tmp_path / "log") == []
    assert contents(output) == contents(whole)


def test_bundles_that_are_retried_count_nothing_twice(whole: Path, tmp_path: Path) -> None:
    """As a cluster does after the loss of a worker; here Beam repeats every bundle."""
    log = tmp_path / "log"
    runtime = BeamRuntime(options=("--direct_runner_bundle_repeat=2",))

    run_units(runtime, Silent(), str(tmp_path / "output"), UNITS, Compute(log))

    assert contents(tmp_path / "output") == contents(whole)
    assert len(computed(log)) == len(UNITS)
