"""Whether one search for minimal perturbations gives the curve that independent attacks give at each budget.

    python -m benchmarks.radii [--quick] [--images N] [--root DIR]

The same models and images; images are stored in 8 bits. The reference at each budget is attack `auto`, which is also
what confirms a radius.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.measure import machine
from benchmarks.victims import Victim, victims
from dermrobust.attacks.attack import Attack
from dermrobust.attacks.auto import Auto
from dermrobust.attacks.engine import attack_pixels
from dermrobust.attacks.minimal import Minimal
from dermrobust.attacks.threat import Pixels, ThreatModel
from dermrobust.models.classifier import attack_target

_BUDGETS = (1, 2, 4, 8)
_LARGEST = 16


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="models that were trained for less time")
    parser.add_argument("--images", type=int, default=512, help="test images")
    parser.add_argument("--steps", type=int, default=100, help="gradient steps of each member of `auto`")
    parser.add_argument("--queries", type=int, default=1000, help="queries of the Square attack")
    parser.add_argument("--root", type=Path, default=Path("output/benchmarks"), help="where trained models are kept")
    options = parser.parse_args()
    print(machine())
    print("| model | budget | auto at this budget | from radii | difference in points |")
    print("|---|---|---|---|---|", flush=True)
    root = options.root / ("quick" if options.quick else "full")
    attack = Auto(steps=options.steps, queries=options.queries)
    for victim in victims(28, options.images, quick=options.quick, root=root):
        for line in _lines(victim, attack):
            print(line, flush=True)


def _lines(victim: Victim, attack: Auto) -> Iterator[str]:
    pixels = np.rint(victim.images * 255).astype(np.uint8)
    largest = ThreatModel(_LARGEST)
    start = time.perf_counter()
    found = _attacked(victim, pixels, Minimal(confirmed_by=attack), largest)
    seconds = time.perf_counter() - start
    distance = largest.distance(found.astype(np.float32), pixels.astype(np.float32))
    radius = np.where(_right(victim, found), np.inf, distance)
    start = time.perf_counter()
    for epsilon in _BUDGETS:
        reference = _right(victim, _attacked(victim, pixels, attack, ThreatModel(epsilon))).mean()
        ours = (radius > epsilon).mean()
        yield f"| {victim.name} | {epsilon}/255 | {reference:.3f} | {ours:.3f} | {100 * (ours - reference):+.2f} |"
    each = time.perf_counter() - start
    yield f"| {victim.name} | all: seconds | {each:.0f} (4 budgets) | {seconds:.0f} (up to {_LARGEST}/255) | |"


def _attacked(victim: Victim, pixels: Pixels, attack: Attack, threat: ThreatModel) -> Pixels:
    seeds = np.arange(len(pixels), dtype=np.uint64) * 7919 + int(threat.epsilon)
    target = attack_target(victim.network)
    return attack_pixels(attack, target, pixels, victim.labels, seeds, threat=threat, stop_at_success=True)


def _right(victim: Victim, pixels: Pixels) -> np.ndarray:
    logits = np.asarray(victim.network.predict(pixels.astype(np.float32) / 255, verbose=0))
    return np.asarray(victim.right & (logits.argmax(axis=1) == victim.labels))


if __name__ == "__main__":
    main()
