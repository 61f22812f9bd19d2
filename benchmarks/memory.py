"""Peak memory of each stage against the number of images.

    HAM10000_DIR=/where/it/is python -m benchmarks.memory [--few 1000] [--many 10015]

Target: with 10,015 images at most 1.2 times as much as with 1,000. Each stage is a process of its own, so that its peak
is its own; the config is small, since memory does not depend on epochs or steps.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import chaos
from benchmarks.ingest import subset
from benchmarks.measure import dermrobust, machine, measure
from dermrobust.pipeline.stages import STAGES

_MOST = 1.2
CONFIG: Mapping[str, Any] = {
    **chaos.CONFIG,
    "ingest": {"dataset": "ham10000"},
    "preprocess": {"image_size": 32},
    "train": {"network": "small_resnet", "epochs": 1, "warmup_epochs": 0, "xla": False},
    "defences": {"online": {"objective": {"objective": "n_fgsm", "epsilon": "linf:4/255"}}},
}


def main() -> int:
    """Print the table; return 1 if a stage misses the target."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--few", type=int, default=1_000, help="number of images to compare with")
    parser.add_argument("--many", type=int, default=10_015, help="number of images")
    options = parser.parse_args()
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "config.json")
        config.write_text(json.dumps(CONFIG))
        few, many = (_peaks(Path(folder), config, count) for count in (options.few, options.many))
    print(f"{'stage':12s} {options.few:>10,d} {options.many:>10,d}   ratio")
    for stage in STAGES:
        print(f"{stage:12s} {few[stage]:6.0f} MiB {many[stage]:6.0f} MiB   {many[stage] / few[stage]:.2f}")
    return 0 if all(many[stage] <= _MOST * few[stage] for stage in STAGES) else 1


def _peaks(folder: Path, config: Path, count: int) -> dict[str, float]:
    """Return the peak memory of each stage on so many images, in MiB."""
    data = subset(Path(os.environ["HAM10000_DIR"]), folder / f"data-{count}", count)
    places = ["--set", f"root={folder / f'output-{count}'}", "--set", f"ingest.path={data}"]
    peaks = {}
    for stage in STAGES:
        peaks[stage] = measure(dermrobust(stage, "--config", str(config), *places)).peak_mib
        print(f"{count} images, {stage}: {peaks[stage]:.0f} MiB", flush=True)
    return peaks


if __name__ == "__main__":
    sys.exit(main())
