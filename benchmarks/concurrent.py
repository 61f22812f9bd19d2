"""Two runs at once on one root: whether both end with the right results.

    python -m benchmarks.concurrent [--pairs 20]

Each config runs once alone. Then pairs of runs start at the same moment in a new root, in turn with equal configs and
with configs of which a part is the same. Counted are runs that fail or hang, artifacts that differ from those of the
run alone or are missing, and stages that were done twice.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.chaos import CONFIG, digests
from benchmarks.measure import dermrobust, machine
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.ledger import Ledger
from dermrobust.pipeline.local_files import ledger_path

Digests = Mapping[tuple[str, str], str]

CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "one": CONFIG,
    # The data set, the baseline and what is trained on its attacks are those of the other config.
    "other": {**CONFIG, "defences": {"online": {**CONFIG["defences"]["online"], "epochs": 1}}},
}
_TIMEOUT = 1800.0


def main() -> int:
    """Print the tally; return 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=20, help="number of pairs")
    options = parser.parse_args()
    print(machine(), flush=True)
    wrong = Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        expected: dict[str, Digests] = {}
        for name, values in CONFIGS.items():
            Path(folder, f"{name}.json").write_text(json.dumps(values))
            root = Path(folder, f"alone-{name}")
            _ended(wrong, [_start(folder, name, root)])
            if wrong:
                raise RuntimeError(f"a run that is alone failed, so that there is nothing to compare:{_failures(root)}")
            expected[name] = digests(root)
        for number in range(options.pairs):
            names = ("one", "one") if number % 2 == 0 else ("one", "other")
            root = Path(folder, f"pair-{number}")
            _ended(wrong, [_start(folder, name, root) for name in names])
            if wrong["failed run"]:
                print(_failures(root), flush=True)
            _compare(root, {key: value for name in names for key, value in expected[name].items()}, wrong)
            print(f"{number + 1} pairs: {sum(wrong.values())} wrong {dict(wrong) or ''}", flush=True)
    return 1 if wrong else 0


def _start(folder: str, name: str, root: Path) -> subprocess.Popen[bytes]:
    command = dermrobust("run", "--config", str(Path(folder, f"{name}.json")), "--set", f"root={root}")
    with Path(f"{root}-{name}.log").open("ab") as output:
        return subprocess.Popen(command, stdout=output, stderr=output)


def _ended(wrong: Counter[str], processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Wait for runs, and count those that fail or hang; what hangs is killed."""
    for process in processes:
        try:
            wrong.update(["failed run"] if process.wait(_TIMEOUT) != 0 else [])
        except subprocess.TimeoutExpired:
            wrong["hanging run"] += 1
            process.kill()
            process.wait()


def _failures(root: Path) -> str:
    """Return the ends of what the runs in a root printed."""
    logs = sorted(root.parent.glob(f"{root.name}-*.log"))
    return "".join(f"\n{log.name}:\n{log.read_text(errors='replace')[-2000:]}" for log in logs)


def _compare(root: Path, expected: Digests, wrong: Counter[str]) -> None:
    found = digests(root)
    wrong.update(f"differing {type_}" for type_, _ in {key for key, _ in expected.items() ^ found.items()})
    ledger = Ledger(ledger_path(PipelineConfig(root=str(root))))
    # A node of another config has another fingerprint under the same id.
    done = Counter(
        (node["node"], node["fingerprint"])
        for run in ledger.runs(10)
        for node in (ledger.run(run["id"]) or {})["nodes"]
        if node["status"] == "done"
    )
    wrong.update(f"{node} done twice" for (node, _), count in done.items() if count > 1)


if __name__ == "__main__":
    sys.exit(main())
