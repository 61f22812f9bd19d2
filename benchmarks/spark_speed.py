"""The attack stage on Spark: two workers beside one worker, and one beside the in-process engine on one core.

    HAM10000_DIR=/where/it/is python -m benchmarks.spark_speed [--images 2000] [--steps 90] [--repeats 1]

PGD attacks real training images; every process that attacks is bound to one core. Engines run by turns in fresh roots,
from the same images and the same model; medians of the stage's time, start of workers and imports included. Targets:
two workers at least 1.8 times as fast as one, and one at most 15 % slower than the in-process engine, for a job of
five minutes. The cluster of a run is started by scripts/spark-local.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.engines import cluster
from benchmarks.ingest import subset
from benchmarks.measure import dermrobust, machine, measure

_NODE = "augment[pgd]"
_TRAINED_ON = 0.7
"""Share of the images that are attacked: those of the training split."""
_SPEEDUP, _OVERHEAD = 1.8, 0.15


def main() -> int:
    """Print the table; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2_000, help="number of attacked images, about")
    parser.add_argument("--steps", type=int, default=90, help="steps of PGD")
    parser.add_argument("--repeats", type=int, default=1, help="number of runs of each engine")
    options = parser.parse_args()
    print(machine(), flush=True)
    seconds: dict[int, list[float]] = {0: [], 1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder:
        data = subset(Path(os.environ["HAM10000_DIR"]), Path(folder, "data"), round(options.images / _TRAINED_ON))
        config, trained = Path(folder, "config.json"), Path(folder, "trained")
        config.write_text(json.dumps(_config(data, options.steps)))
        measure(dermrobust("run", "--to", "train", "--config", str(config), "--set", f"root={trained}"))
        for repeat in range(options.repeats):
            for workers, times in seconds.items():
                root = Path(folder, f"{workers}-{repeat}")
                shutil.copytree(trained, root)
                times.append(_stage(config, root, workers))
                shutil.rmtree(root)
                print(f"{workers} workers: {times[-1]:.1f} s", file=sys.stderr, flush=True)
    alone, one, two = (statistics.median(times) for times in seconds.values())
    print(f"\n{options.images} images, {options.steps} steps\n\n| engine | seconds |\n|---|---|")
    print(
        f"| in-process, one core | {alone:.1f} |\n| Spark, one worker | {one:.1f} |\n| Spark, two workers | {two:.1f} |"
    )
    print(f"\ntwo workers beside one: {one / two:.2f}; overhead of Spark: {one / alone - 1:+.1%}")
    return 0 if one / two >= _SPEEDUP and one / alone - 1 <= _OVERHEAD else 1


def _stage(config: Path, root: Path, workers: int) -> float:
    """Return the seconds of the stage on a cluster of so many workers, or on the in-process engine for 0."""
    command = dermrobust("augment", "--config", str(config), "--set", f"root={root}", "--json")
    if workers == 0:
        with _bound_to({0}):
            output = measure(command).output
    else:
        folder = root.with_name(f"{root.name}-cluster")
        with cluster(folder, workers) as master:
            for number in range(workers):
                _bind(int((folder / f"worker-{number + 1}.pid").read_text().split()[0]), {number})
            options = ("--set", "beam.runner=PySparkRunner", "--set", f'beam.options=["--spark_master={master}"]')
            output = measure([*command, *options]).output
    return next(float(node["seconds"]) for node in json.loads(output)["nodes"] if node["node"] == _NODE)


@contextlib.contextmanager
def _bound_to(cores: set[int]) -> Iterator[None]:
    """Bind this process, and what it starts meanwhile, to some cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _bind(process: int, cores: set[int]) -> None:
    """Bind a process with all its threads, any of which may start further processes."""
    for thread in Path(f"/proc/{process}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread.name), cores)


def _config(data: Path, steps: int) -> dict[str, Any]:
    return {
        "ingest": {"dataset": "ham10000", "path": str(data), "shard_size": 64},
        "preprocess": {"image_size": 64},
        "train": {"network": "resnet", "epochs": 1, "warmup_epochs": 0, "xla": False},
        "augment": {"models": {"pgd": ["pgd"]}, "attacks": {"pgd": {"attack": "pgd", "steps": steps}}},
        "evaluate": {
            "epsilons": [4],
            "attacks": {"fgsm": "fgsm"},
            "gate": {
                "candidate": "pgd",
                "thresholds": [{"metric": "accuracy", "attack": "fgsm", "epsilon": 4, "min": 0.0}],
            },
        },
    }


if __name__ == "__main__":
    sys.exit(main())
