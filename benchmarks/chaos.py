"""Runs that are killed at random moments: whether the next run completes, and with the same bytes.

    python -m benchmarks.chaos [--kills 200] [--seed 0]

A small pipeline runs once undisturbed. Then it is started again and again in another root and killed by SIGKILL after a
random time, until it completes; then a new root begins. Counted are artifacts whose content differs from that of the
undisturbed run, stages that were done again although they were published, and files left behind.

Runs are forked from this process, which has imported their libraries and called none: a kill during imports shows
nothing, and they would take most of the time.
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measure import machine
from dermrobust import components
from dermrobust.components.artifacts import Artifact, ArtifactStore, ArtifactType
from dermrobust.components.garbage_collection import collect_rarely
from dermrobust.pipeline.cli.library_output import silence_libraries
from dermrobust.pipeline.cli.main import main as command
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.ledger import Ledger
from dermrobust.pipeline.local_files import ledger_path

CONFIG: dict[str, Any] = {
    "ingest": {"dataset": {"dataset": "synthetic", "count": 350, "height": 32, "width": 32, "balanced": True}},
    "preprocess": {"image_size": 16},
    "train": {"network": "cnn", "epochs": 4, "warmup_epochs": 0, "xla": False},
    "defences": {"online": {"objective": {"objective": "n_fgsm", "epsilon": "linf:4/255"}, "epochs": 2}},
    "augment": {
        "models": {"static": ["fgsm"]},
        "attacks": {"fgsm": {"attack": "fgsm"}},
        "train": {"epochs": 1},
    },
    "evaluate": {
        "epsilons": [4],
        "attacks": {"pgd": {"attack": "pgd", "steps": 2}, "fgsm": "fgsm"},
        "probes": {"images": 8, "queries": 2, "spsa_images": 0, "corruption_images": 8},
        "gate": {
            "candidate": "online",
            "thresholds": [{"metric": "accuracy", "attack": "pgd", "epsilon": 4, "min": 0.0}],
            "checks": "ignored",
        },
    },
}
_NOT_COMPARED = frozenset({ArtifactType.EXPORTED_MODEL})
"""A SavedModel holds an id that TensorFlow draws anew each time."""
_TIMEOUT = 900.0


@dataclass
class Tally:
    """What was counted."""

    kills: int = 0
    recoveries: int = 0
    differing: Counter[str] = field(default_factory=Counter)
    redone: Counter[str] = field(default_factory=Counter)
    left: list[str] = field(default_factory=list)

    @property
    def faultless(self) -> bool:
        """Whether everything ended as it should."""
        return not (self.differing or self.redone or self.left)


def main() -> int:
    """Print the tally; return 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200, help="number of kills")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    print(machine(), flush=True)
    _import_libraries()
    moments = random.Random(options.seed)
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "config.json")
        config.write_text(json.dumps(CONFIG))
        started = time.monotonic()
        _run(config, Path(folder, "undisturbed"), None)
        whole = time.monotonic() - started
        expected = digests(Path(folder, "undisturbed"))
        print(f"undisturbed: {whole:.0f} s, {len(expected)} artifacts", flush=True)
        number = 0
        while tally.kills < options.kills:
            root = Path(folder, f"killed-{number}")
            number, before, started = number + 1, tally.kills, time.monotonic()
            while not _run(config, root, moments.uniform(0.0, whole) if tally.kills < options.kills else None):
                tally.kills += 1
            if tally.kills == before:
                # Other work on the machine may have delayed the first run: later moments would never come.
                whole = time.monotonic() - started
            tally.recoveries += 1
            _compare(root, expected, tally)
            print(f"{tally.kills} kills, {tally.recoveries} runs completed: {_told(tally)}", flush=True)
    return 0 if tally.faultless else 1


def _import_libraries() -> None:
    """Import what runs import, as the command does it."""
    silence_libraries()
    collect_rarely()
    for executor in sorted(Path(components.__path__[0]).glob("*/executor.py")):
        importlib.import_module(f"dermrobust.components.{executor.parent.name}.executor")


def _run(config: Path, root: Path, seconds: float | None) -> bool:
    """Run the pipeline, and return whether it completed; it is killed after some seconds.

    Raises:
        RuntimeError: it failed by itself.
    """
    with tempfile.TemporaryFile() as output:
        process = multiprocessing.get_context("fork").Process(target=_command, args=(config, root, output.fileno()))
        process.start()
        process.join(_TIMEOUT if seconds is None else seconds)
        process.kill()
        process.join()
        if process.exitcode not in (0, -signal.SIGKILL):
            output.seek(0)
            raise RuntimeError(f"a run ended with {process.exitcode}:\n{output.read().decode()[-2000:]}")
    return process.exitcode == 0


def _command(config: Path, root: Path, output: int) -> None:
    """Run the command line; its output goes to a file descriptor."""
    for stream in (1, 2):
        os.dup2(output, stream)
    command(["run", "--config", str(config), "--set", f"root={root}"])


def digests(root: Path) -> dict[tuple[str, str], str]:
    """Return the digests of the artifacts of a root by type and fingerprint."""
    return {
        (artifact.type.value, artifact.fingerprint): artifact.digest
        for artifact in ArtifactStore(str(root)).all()
        if isinstance(artifact, Artifact) and artifact.type not in _NOT_COMPARED
    }


def _compare(root: Path, expected: dict[tuple[str, str], str], tally: Tally) -> None:
    """Count what differs from the undisturbed run, what was done twice, and what was left."""
    found = digests(root)
    keys = {key for key, _ in expected.items() ^ found.items()}
    tally.differing.update(type_ for type_, _ in keys)
    ledger = Ledger(ledger_path(PipelineConfig(root=str(root))))
    done = Counter(node["node"] for run in ledger.runs(10_000) for node in run["nodes"] if node["status"] == "done")
    tally.redone.update({node: count - 1 for node, count in done.items() if count > 1})
    tally.left += [
        str(path.relative_to(root))
        for path in root.rglob("*")
        if path.is_file() and (path.relative_to(root).parts[0] in ("staging", "work") or ".partial-" in path.name)
    ]


def _told(tally: Tally) -> str:
    return (
        f"{sum(tally.differing.values())} differing artifacts {dict(tally.differing) or ''}, "
        f"{sum(tally.redone.values())} published stages done again {dict(tally.redone) or ''}, "
        f"{len(tally.left)} files left behind {tally.left[:5] or ''}"
    )


if __name__ == "__main__":
    sys.exit(main())
