"""Ingest and preprocess of the real images: throughput after start-up, and memory against their number.

    HAM10000_DIR=/where/it/is python -m benchmarks.ingest

Targets on 2 cores: at least 400 images/s together after start-up, and memory that does not grow with the number of
images. A stage's time holds the import of its libraries, so the rate after start-up is that between two sizes.
"""

from __future__ import annotations

import csv
import json
import os
import tempfile
from pathlib import Path

from benchmarks.measure import dermrobust, machine, measure

_STAGES = ("ingest", "preprocess")


def subset(source: Path, folder: Path, count: int) -> Path:
    """Return a data set with some rows of the metadata and the same archives."""
    folder.mkdir(parents=True)
    for archive in source.glob("HAM10000_images_part_*"):
        (folder / archive.name).symlink_to(archive.resolve())
    with (source / "HAM10000_metadata.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    with (folder / "HAM10000_metadata.csv").open("w", newline="") as file:
        # The release is sorted by class: take rows at even distances.
        body = rows[1:]
        chosen = [body[index * len(body) // count] for index in range(count)]
        csv.writer(file).writerows([rows[0], *chosen])
    return folder


def main() -> None:
    """Print the table."""
    source = Path(os.environ["HAM10000_DIR"])
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        before: tuple[int, float] | None = None
        for count in (2_500, 5_000, 10_015):
            data = subset(source, Path(folder, f"data{count}"), count)
            root = Path(folder, f"output{count}")
            command = dermrobust("run", "--config", "configs/ham10000.json", "--to", "preprocess", "--json")
            taken = measure([*command, "--set", f"root={root}", "--set", f"ingest.path={data}"])
            nodes = {node["node"]: node["seconds"] for node in json.loads(taken.output)["nodes"]}
            together = sum(nodes[stage] for stage in _STAGES)
            parts = ", ".join(f"{stage} {nodes[stage]:.1f} s" for stage in _STAGES)
            further = "" if before is None else f"; further images {(count - before[0]) / (together - before[1]):.0f}/s"
            before = count, together
            rate = count / together
            print(f"{count:6d} images: {rate:.0f}/s ({parts}{further}); peak {taken.peak_mib:.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
