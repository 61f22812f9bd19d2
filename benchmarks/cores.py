"""The cores of one machine: the in-process engine, whose attack steps have threads, beside local Spark.

    python -m benchmarks.cores [--images 2000] [--repeats 3]

The evaluation of one model is timed, from the same images and the same model, in fresh roots by turns; medians. Spark
(`make spark`) runs as one Python process for each core, which TensorFlow does not know: its processes compete.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measure import dermrobust, machine, measure

_SHARD = 64
"""Images of a shard, so that all cores have work."""


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2_000, help="number of drawn images, a fifth of them tested")
    parser.add_argument("--repeats", type=int, default=3, help="number of runs of each engine")
    options = parser.parse_args()
    cores = os.cpu_count() or 1
    engines = {
        "in-process engine": (),
        f"Spark, local[{cores}]": (
            *("--set", "beam.runner=PySparkRunner"),
            *("--set", f'beam.options=["--spark_master=local[{cores}]"]'),
        ),
    }
    print(machine(), flush=True)
    seconds: dict[str, list[float]] = {engine: [] for engine in engines}
    with tempfile.TemporaryDirectory() as folder:
        config, trained = Path(folder, "config.json"), Path(folder, "trained")
        config.write_text(json.dumps(_config(options.images)))
        measure(dermrobust("run", "--to", "augment", "--config", str(config), "--set", f"root={trained}"))
        for repeat in range(options.repeats):
            for number, (engine, overrides) in enumerate(engines.items()):
                root = Path(folder, f"{number}-{repeat}")
                shutil.copytree(trained, root)
                command = dermrobust("evaluate", "--config", str(config), "--set", f"root={root}", *overrides)
                seconds[engine].append(measure(command).seconds)
                shutil.rmtree(root)
    print("\n| engine | seconds |\n|---|---|")
    for engine, times in seconds.items():
        print(f"| {engine} | {statistics.median(times):.1f} ({min(times):.1f} to {max(times):.1f}) |")
    return 0


def _config(images: int) -> dict[str, Any]:
    return {
        "ingest": {"dataset": {"dataset": "synthetic", "count": images}, "shard_size": _SHARD},
        "preprocess": {"image_size": 32},
        "train": {"network": "small_resnet", "epochs": 1, "warmup_epochs": 0, "xla": False},
        "augment": {"models": {}, "attacks": {}},
        "evaluate": {
            "epsilons": [4],
            "attacks": {"pgd": {"attack": "pgd", "steps": 40}},
            "gate": {
                "candidate": "vanilla",
                "thresholds": [{"metric": "accuracy", "attack": "pgd", "epsilon": 4, "min": 0.0}],
                "checks": "ignored",
            },
        },
    }


if __name__ == "__main__":
    sys.exit(main())
