"""Memory of the processes of a Spark cluster against the number of images.

    HAM10000_DIR=/where/it/is python -m benchmarks.spark_memory [--few 1000] [--many 10000] [--workers 2]

Every stage that has data-parallel work is a command of its own on one cluster, which scripts/spark-local starts. The
resident memory of the driver and of all Python processes of the workers is sampled five times a second. Targets: the
largest Python process of a worker needs at most 1.1 times as much for many images as for few, and the driver at most
500 MB more than a process that has imported TensorFlow, Beam and PySpark. Trainings, which run in the driver's process
whatever the engine is, are done before by other commands.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.engines import cluster
from benchmarks.ingest import subset
from benchmarks.measure import dermrobust, machine, measure
from benchmarks.memory import CONFIG

_STAGES = {"ingest": (), "preprocess": (), "augment": ("train",), "evaluate": ()}
"""The measured stages, with those that run before them in the in-process engine."""
_MOST, _BEYOND_IMPORTS = 1.1, 500e6
_SHARD_SIZE = 128
_EVERY = 0.2
"""Seconds."""


@dataclass(frozen=True)
class _Peaks:
    """Bytes that the driver, and the largest Python process of a worker, had at most."""

    driver: int
    worker: int


def main() -> int:
    """Print the table; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--few", type=int, default=1_000, help="number of images to compare with")
    parser.add_argument("--many", type=int, default=10_000, help="number of images")
    parser.add_argument("--workers", type=int, default=2, help="workers of the cluster")
    options = parser.parse_args()
    print(machine(), flush=True)
    imports = measure([sys.executable, "-c", "import apache_beam, pyspark.sql, tensorflow"]).peak_mib * 2**20
    with tempfile.TemporaryDirectory() as folder:
        few, many = (_peaks(Path(folder), count, options.workers) for count in (options.few, options.many))
    print(f"\nimports of the driver: {_mb(imports)}\n")
    few_title, many_title = f"{options.few:,} images", f"{options.many:,}"
    print(f"| stage | worker, {few_title} | {many_title} | ratio | driver, {few_title} | {many_title} | - imports |")
    print("|---|---|---|---|---|---|---|")
    met = True
    for stage in _STAGES:
        ratio, beyond = many[stage].worker / few[stage].worker, many[stage].driver - imports
        met &= ratio <= _MOST and beyond <= _BEYOND_IMPORTS
        workers = f"{_mb(few[stage].worker)} | {_mb(many[stage].worker)} | {ratio:.2f}"
        print(f"| {stage} | {workers} | {_mb(few[stage].driver)} | {_mb(many[stage].driver)} | {_mb(beyond)} |")
    return 0 if met else 1


def _mb(count: float) -> str:
    return f"{count / 1e6:.0f} MB"


def _peaks(folder: Path, count: int, workers: int) -> dict[str, _Peaks]:
    """Return the peaks of each stage on so many images."""
    config, found = folder / f"{count}.json", {}
    data = subset(Path(os.environ["HAM10000_DIR"]), folder / f"data-{count}", count)
    ingest = {"dataset": "ham10000", "path": str(data), "shard_size": _SHARD_SIZE}
    config.write_text(json.dumps({**CONFIG, "root": str(folder / f"output-{count}"), "ingest": ingest}))
    place = folder / f"cluster-{count}"
    for stage, before in _STAGES.items():
        for other in before:
            measure(dermrobust(other, "--config", str(config)))
        # A cluster for each stage, so that no Python process has what another stage left.
        with cluster(place, workers) as master:
            options = ("--set", "beam.runner=PySparkRunner", "--set", f'beam.options=["--spark_master={master}"]')
            found[stage] = _sampled(dermrobust(stage, "--config", str(config), *options), place)
        print(f"{count} images, {stage}: {found[stage]}", file=sys.stderr, flush=True)
    return found


def _sampled(command: list[str], place: Path) -> _Peaks:
    """Run a command, and return the peaks of its process and of the Python processes of a cluster's workers."""
    daemons = [psutil.Process(int(file.read_text().split()[0])) for file in place.glob("worker-*.pid")]
    largest, ended = [0], threading.Event()

    def sample() -> None:
        while not ended.wait(_EVERY):
            largest.append(max(_python_memory(daemons), default=0))

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        driver = measure(command).peak_mib * 2**20
    finally:
        ended.set()
        sampler.join()
    if max(largest) == 0:
        raise RuntimeError("no Python process of a worker was seen")
    return _Peaks(round(driver), max(largest))


def _python_memory(daemons: list[psutil.Process]) -> Iterator[int]:
    for daemon in daemons:
        for process in daemon.children(recursive=True):
            # A process may end between any two of these calls.
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.name().startswith("python"):
                    yield process.memory_info().rss


if __name__ == "__main__":
    sys.exit(main())
