"""Time of certificates, and their agreement with a direct implementation of the paper's procedure.

    python -m benchmarks.smoothing [--quick] [--images N] [--samples N] [--sigma S] [--size PX] [--root DIR]

The direct implementation follows the pseudocode of Cohen et al. 2019 line by line, with noise of NumPy and the
binomial interval of SciPy. Both sample anew, so certified accuracies differ by the sampling error.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from benchmarks.measure import machine
from benchmarks.victims import Victim, victims
from dermrobust.attacks.smoothing.certificate import certify
from dermrobust.attacks.smoothing.voting import Voters, noise_seeds
from dermrobust.models.classifier import attack_target

_SELECTION, _ALPHA, _BATCH = 100, 0.001, 128
_RADII = (0.0, 0.25, 0.5, 1.0)

Radii = npt.NDArray[np.float64]
"""Certified radius of the true class, -1 without a certificate: float64 [image]."""


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="models that were trained for less time")
    parser.add_argument("--images", type=int, default=100, help="test images")
    parser.add_argument("--samples", type=int, default=10_000, help="noisy copies of each image")
    parser.add_argument("--sigma", type=float, default=0.12, help="deviation of the noise")
    parser.add_argument("--size", type=int, choices=(28, 64), default=64, help="side of the images in pixels")
    parser.add_argument("--root", type=Path, default=Path("output/benchmarks"), help="where trained models are kept")
    options = parser.parse_args()
    print(machine())
    print("| model | certificates | seconds |", *(f"certified at {radius:g} |" for radius in _RADII))
    print("|---|---|---|" + "---|" * len(_RADII), flush=True)
    root = options.root / ("quick" if options.quick else "full")
    for victim in victims(options.size, options.images, quick=options.quick, root=root):
        for line in _lines(victim, options.sigma, options.samples):
            print(line, flush=True)


def _lines(victim: Victim, sigma: float, samples: int) -> Iterator[str]:
    for name, procedure in (("this project", _ours), ("direct", _direct)):
        # One image first, so that tracing is not timed.
        procedure(victim, 1, sigma, _BATCH)
        start = time.perf_counter()
        found = procedure(victim, len(victim.labels), sigma, samples)
        seconds = time.perf_counter() - start
        yield (
            f"| {victim.name} | {name} | {seconds:.0f} | "
            + " | ".join(f"{(found > radius).mean():.3f}" for radius in _RADII)
            + " |"
        )


def _ours(victim: Victim, count: int, sigma: float, samples: int) -> Radii:
    classes = victim.network.output_shape[-1]
    voters = Voters(attack_target(victim.network), classes, sigma, _BATCH)
    images, seeds = victim.images[:count], noise_seeds([str(index) for index in range(count)], sigma=sigma, seed=0)
    selection = voters.votes(images, seeds, draws=_SELECTION)
    found = certify(selection, voters.votes(images, seeds, draws=samples, first=_SELECTION), sigma, _ALPHA)
    correct = ~found.abstained & (found.classes == victim.labels[:count])
    return np.where(correct, found.radius, -1)


def _direct(victim: Victim, count: int, sigma: float, samples: int) -> Radii:
    random = np.random.default_rng(1)
    radii = []
    for image, label in zip(victim.images[:count], victim.labels[:count], strict=True):
        chosen = int(_sample_under_noise(victim, image, sigma, _SELECTION, random).argmax())
        number = int(_sample_under_noise(victim, image, sigma, samples, random)[chosen])
        # One-sided, as LowerConfBound of the paper: the lower end of the two-sided interval of level 1 - 2 alpha.
        lower = stats.binomtest(number, samples).proportion_ci(1 - 2 * _ALPHA, "exact").low
        radii.append(sigma * stats.norm.ppf(lower) if lower > 0.5 and chosen == label else -1.0)
    return np.asarray(radii)


def _sample_under_noise(victim: Victim, image: Any, sigma: float, samples: int, random: np.random.Generator) -> Any:
    """Return the class counts of a network's predictions on noisy copies of an image."""
    counts = np.zeros(victim.network.output_shape[-1], np.int64)
    for start in range(0, samples, _BATCH):
        shape = (min(_BATCH, samples - start), *image.shape)
        logits = victim.network.predict_on_batch(image + sigma * random.standard_normal(shape, np.float32))
        counts += np.bincount(np.asarray(logits).argmax(axis=1), minlength=len(counts))
    return counts


if __name__ == "__main__":
    main()
