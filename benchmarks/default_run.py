"""The embedded default, as `make run` does it after set-up: first from nothing, then with everything cached.

    python -m benchmarks.default_run

Targets on 2 cores: under 75 seconds with AVX-512, 3 minutes with AVX2 alone; 3 GB; the cached run under 5 seconds.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.measure import dermrobust, machine, measure


def main() -> None:
    """Print the table."""
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        command = dermrobust("run", "--set", f"root={Path(folder, 'output')}", "--json")
        for name in ("first run", "cached run", "cached run"):
            taken = measure(command)
            print(f"{name:12s} {taken.seconds:7.1f} s   peak {taken.peak_mib:6.0f} MiB", flush=True)
        helped = min(measure(dermrobust("--help")).seconds for _ in range(5))
        print(f"{'--help':12s} {helped:7.2f} s   (best of 5)")


if __name__ == "__main__":
    main()
