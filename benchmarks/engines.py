"""The same pipeline on the in-process engine and on Spark clusters of several sizes: whether its bytes are the same.

    python -m benchmarks.engines [--workers 1 2 4] [--config FILE]

Each cluster is started by scripts/spark-local, on loopback, with one core for each worker. Counted are artifacts whose
content differs from that of the in-process engine. Times are those of whole runs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.chaos import CONFIG, digests
from benchmarks.measure import dermrobust, machine, measure

_SCRIPT = Path(__file__).parents[1] / "scripts" / "spark-local"


def main() -> int:
    """Print a Markdown table; return 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4], help="sizes of the clusters")
    parser.add_argument("--config", type=Path, help="config of the pipeline; default: a small one")
    options = parser.parse_args()
    print(f"{machine()}\n\n| engine | artifacts | differing | seconds |\n|---|---|---|---|", flush=True)
    differing = 0
    with tempfile.TemporaryDirectory() as folder:
        config = options.config or Path(folder, "config.json")
        if options.config is None:
            config.write_text(json.dumps(CONFIG))
        root = Path(folder, "in-process")
        seconds = _run(config, root)
        expected = digests(root)
        print(f"| in-process | {len(expected)} | | {seconds:.0f} |", flush=True)
        for workers in options.workers:
            root = Path(folder, f"spark-{workers}")
            with cluster(Path(folder, f"cluster-{workers}"), workers) as master:
                seconds = _run(
                    config,
                    root,
                    *("--set", "beam.runner=PySparkRunner"),
                    *("--set", f'beam.options=["--spark_master={master}"]'),
                )
            found = digests(root)
            keys = sorted({key for key, _ in expected.items() ^ found.items()})
            differing += len(keys)
            print(f"| Spark, {workers} workers | {len(found)} | {len(keys)} {keys or ''} | {seconds:.0f} |", flush=True)
    return 1 if differing else 0


def _run(config: Path, root: Path, *options: str) -> float:
    return measure(dermrobust("run", "--config", str(config), "--set", f"root={root}", *options)).seconds


@contextlib.contextmanager
def cluster(folder: Path, workers: int) -> Iterator[str]:
    """Run a cluster, and yield the URL of its master."""
    script = [sys.executable, str(_SCRIPT)]
    place = ["--folder", str(folder)]
    start = [*script, "start", "--port", "0", "--workers", str(workers), *place]
    try:
        yield subprocess.run(start, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    finally:
        subprocess.run([*script, "stop", *place], check=True)


if __name__ == "__main__":
    sys.exit(main())
