"""Random inputs for the readers of untrusted data: each must be read or refused, and nothing else may happen.

    python -m benchmarks.fuzz [--inputs 1000000] [--seed 0] [--readers config table …]

Inputs are drawn by Hypothesis in parts of 200, each with a seed of its own: `--seed` goes on from a part. Another
process reads them, so that crashes are counted as well as hangs, which a time limit ends. Inputs that were neither read
nor refused are kept in `build/fuzz/`.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings

from benchmarks.fuzz_targets.registry import TARGETS
from benchmarks.fuzz_targets.target import Target, is_read
from benchmarks.measure import machine

_PART = 200
"""Inputs that are drawn from one seed."""
_FIRST_SECONDS = 300.0
"""That the first input of a process may take: TensorFlow is imported for it, which takes long on a busy machine."""
_KEPT = Path("build", "fuzz")
_CURRENT = "current"


@dataclass
class Tally:
    """What became of inputs.

    Attributes:
        read: number of inputs that were read.
        refused: number of inputs that were refused, or set aside.
        errors: number of inputs by the error that they raised instead.
        crashes: number of inputs at which the process died.
        hangs: number of inputs that took longer than the limit.
    """

    read: int = 0
    refused: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    crashes: int = 0
    hangs: int = 0

    @property
    def inputs(self) -> int:
        """Number of all inputs."""
        return self.read + self.refused + sum(self.errors.values()) + self.crashes + self.hangs

    @property
    def faultless(self) -> bool:
        """Whether all inputs were read or refused."""
        return not (self.errors or self.crashes or self.hangs)

    def __str__(self) -> str:
        """Return the counts in one line."""
        return (
            f"{self.inputs} inputs, {self.read} read, {self.refused} refused, {sum(self.errors.values())} errors "
            f"{dict(self.errors) or ''}, {self.crashes} crashes, {self.hangs} hangs"
        )


def main() -> int:
    """Print the tally of each reader; return 1 if an input was neither read nor refused."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=1_000_000, help="number of inputs, for all readers together")
    parser.add_argument("--seed", type=int, default=0, help="of the first part")
    parser.add_argument("--readers", nargs="+", choices=TARGETS, default=list(TARGETS), help="readers to try")
    parser.add_argument("--worker", nargs=4, metavar=("READER", "FIRST", "LAST", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        name, first, last, folder = options.worker
        _work(TARGETS[name], int(first), int(last), Path(folder))
        return 0
    print(machine(), flush=True)
    faultless = True
    shares = sum(TARGETS[name].share for name in options.readers)
    for name in options.readers:
        parts = max(1, round(options.inputs * TARGETS[name].share / shares / _PART))
        tally = _tried(TARGETS[name], options.seed, options.seed + parts)
        print(f"{name}: {tally}; go on with --seed {options.seed + parts}", flush=True)
        faultless = faultless and tally.faultless
    return 0 if faultless else 1


def _tried(target: Target, first: int, last: int) -> Tally:
    """Return what becomes of the inputs of some parts, in processes that are started again when they die."""
    tally, part = Tally(), first
    while part < last:
        with tempfile.TemporaryDirectory() as folder:
            arguments = ["--worker", target.name, str(part), str(last), folder]
            log = Path(folder, "stderr")
            with log.open("w") as stderr:
                process = subprocess.Popen(
                    [sys.executable, "-m", "benchmarks.fuzz", *arguments],
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    text=True,
                )
            assert process.stdout is not None
            for line in process.stdout:
                counts = json.loads(line)
                tally.read += counts["read"]
                tally.refused += counts["refused"]
                tally.errors.update(counts["errors"])
                part += 1
            if (code := process.wait()) == 0:
                return tally
            if code == -signal.SIGALRM:
                tally.hangs += 1
            elif code < 0:
                tally.crashes += 1
            else:
                raise RuntimeError(
                    f"the process that reads '{target.name}' ended with {code}: {log.read_text()[-2000:]}"
                )
            _keep(target, Path(folder, _CURRENT).read_bytes(), signal.Signals(-code).name)
        # The rest of this part is left out.
        part += 1
    return tally


def _work(target: Target, first: int, last: int, folder: Path) -> None:
    """Print the counts of each part as a line of JSON; `folder` gets the input that is being read."""
    # Libraries print as well, which must not get between the lines.
    counted = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for part in range(first, last):
        counts = _read_part(target, part, folder, _FIRST_SECONDS if part == first else 0.0)
        if part == first:
            # What was imported stays: readers that collect garbage after each input need not walk it.
            gc.freeze()
        print(
            json.dumps({"read": counts.read, "refused": counts.refused, "errors": counts.errors}),
            file=counted,
            flush=True,
        )


def _read_part(target: Target, part: int, folder: Path, first_seconds: float) -> Tally:
    tally = Tally()

    @hypothesis.seed(part)
    @settings(
        max_examples=_PART,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(target.inputs)
    def read_all(content: bytes) -> None:
        (folder / _CURRENT).write_bytes(content)
        # Without a handler the signal ends the process, even inside of a library.
        signal.setitimer(signal.ITIMER_REAL, target.seconds if tally.inputs else max(first_seconds, target.seconds))
        try:
            if is_read(target, content, folder):
                tally.read += 1
            else:
                tally.refused += 1
        except Exception as error:
            tally.errors[_name(error)] += 1
            _keep(target, content, type(error).__name__)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    read_all()
    return tally


def _name(error: Exception) -> str:
    """Return a name that is the same for inputs that fail at the same place."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"


def _keep(target: Target, content: bytes, what: str) -> None:
    _KEPT.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(content).hexdigest()[:12]
    (_KEPT / f"{target.name}-{what}-{name}").write_bytes(content)


if __name__ == "__main__":
    sys.exit(main())
