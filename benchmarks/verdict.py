"""Time to the verdict: suites `auto` and `auto-screened` beside ART's AutoAttack, on a hardened network.

    pip install '.[benchmarks]'
    python -m benchmarks.verdict [--images 64] [--size 28] [--quick] [--without-art] [--root DIR]

All as they are by default: ours with 100 steps and 5,000 queries, ART 1.20 with its own members, steps and restarts.
One run each, compilation included. Gradient evaluations are images for which a gradient was computed, padding
included; ART's gradients of all classes count once for each class. Targets: an eighth of ART's gradient evaluations
and of its time by `auto-screened`, and no more images left.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import dataclasses
import logging
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np

from benchmarks import peers
from benchmarks.counting import counting
from benchmarks.hardware import has_bfloat16
from benchmarks.measure import machine
from benchmarks.victims import EPSILON, Victim, victims
from dermrobust.attacks.engine import attack_images
from dermrobust.attacks.selection import read_attack
from dermrobust.attacks.target import Precision
from dermrobust.attacks.threat import ThreatModel
from dermrobust.models.classifier import attack_target

_OURS = ("auto", "auto_screened")
_SHARE = 1 / 8
_THREAT = ThreatModel(EPSILON)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Outcome of a suite.

    Attributes:
        gradients: number of gradient evaluations.
        seconds: time of the run.
        robust: robust accuracy.
    """

    gradients: int
    seconds: float
    robust: float


def main() -> int:
    """Print a Markdown table; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=64, help="number of test images")
    parser.add_argument("--size", type=int, choices=(28, 64), default=28, help="side of the images in pixels")
    parser.add_argument("--quick", action="store_true", help="a model that was trained for less time")
    parser.add_argument("--without-art", action="store_true", help="ours alone: ART takes minutes")
    parser.add_argument("--root", type=Path, default=Path("output/benchmarks"), help="where trained models are kept")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    root = options.root / ("quick" if options.quick else "full")
    *_, victim = victims(options.size, options.images, quick=options.quick, root=root)
    precision: Precision = "bfloat16" if has_bfloat16() else "float32"
    print(f"{machine()}; {victim.name}, {options.size} px, clean accuracy {victim.right.mean():.3f}\n")
    print("| suite | gradient evaluations | seconds | robust accuracy |\n|---|---|---|---|", flush=True)
    ours = {name: _told(f"{name}, gradients in {precision}", _run_ours(victim, name, precision)) for name in _OURS}
    if options.without_art:
        return 0
    theirs = _told("AutoAttack of ART", _run_art(victim))
    print(f"\nShares of ART's gradient evaluations and time (targets: {_SHARE:.1%})\n")
    for name, verdict in ours.items():
        print(f"- {name}: {verdict.gradients / theirs.gradients:.1%} and {verdict.seconds / theirs.seconds:.1%}")
    screened = ours["auto_screened"]
    reached = screened.gradients <= _SHARE * theirs.gradients and screened.seconds <= _SHARE * theirs.seconds
    return 0 if reached and screened.robust <= theirs.robust else 1


def _told(name: str, verdict: Verdict) -> Verdict:
    print(f"| {name} | {verdict.gradients:,} | {verdict.seconds:.1f} | {verdict.robust:.3f} |", flush=True)
    return verdict


def _run_ours(victim: Victim, attack: str, precision: Precision) -> Verdict:
    target, counted = counting(attack_target(victim.network, precision=precision))
    seeds = np.arange(len(victim.labels), dtype=np.uint64)
    started = time.perf_counter()
    found = attack_images(
        read_attack(attack), target, victim.images, victim.labels, seeds, threat=_THREAT, batch_size=peers.BATCH
    )
    return Verdict(counted().gradients, time.perf_counter() - started, victim.robust_accuracy(found))


def _run_art(victim: Victim) -> Verdict:
    from art.attacks.evasion import AutoAttack

    classifier = _counting_classifier(victim.network)
    radius = _THREAT.radius
    attack = AutoAttack(classifier, eps=radius, eps_step=2 * radius, batch_size=peers.BATCH)
    started = time.perf_counter()
    found = np.asarray(attack.generate(victim.images, victim.labels))
    return Verdict(classifier.gradients, time.perf_counter() - started, victim.robust_accuracy(found))


def _counting_classifier(network: keras.Model) -> Any:
    """Return ART's wrapper of a network, which counts gradient evaluations in `gradients`."""
    classifier = peers.art_classifier(network, network.output_shape[-1])
    classifier.gradients = 0
    of_loss, of_classes = classifier.loss_gradient, classifier.class_gradient

    def loss_gradient(x: Any, *arguments: Any, **options: Any) -> Any:
        classifier.gradients += len(x)
        return of_loss(x, *arguments, **options)

    def class_gradient(x: Any, label: Any = None, **options: Any) -> Any:
        classifier.gradients += len(x) * (classifier.nb_classes if label is None else 1)
        return of_classes(x, label, **options)

    classifier.loss_gradient, classifier.class_gradient = loss_gradient, class_gradient
    return classifier


if __name__ == "__main__":
    sys.exit(main())
