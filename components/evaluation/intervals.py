"""95 % intervals: Wilson's for rates, a bootstrap over groups of images for other metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from dermrobust.components.evaluation.weighted import Labels, Scores, Values, Weights

SAMPLES = 400
_Z_95 = NormalDist().inv_cdf(0.975)
_PERCENTILES = (2.5, 97.5)
_BLOCK = 1 << 22
"""Weights in memory at a time."""
_POISSON = np.asarray(
    [
        int(2**32 * share)
        for share in np.cumsum([math.exp(-1) / math.factorial(count) for count in range(8)])
        if share < 1 - 2**-32
    ],
    np.uint32,
)

Weighted = Callable[[Labels, Scores, Weights], Values]
Interval = tuple[float, float]
Clusters = npt.NDArray[np.uint64]
"""A number for each row that is the same for all images of a group, such as a lesion: uint64 [row]."""


def wilson_interval(rate: float, n: int) -> Interval:
    """Return the 95 % score interval of a rate measured on n examples (Wilson, 1927).

    Unlike the normal approximation it stays within 0 to 1 and is not empty at 0 and 1, which classes with a few dozen
    images need. `scipy.stats.binomtest(...).proportion_ci` gives the same to 15 digits, but takes more than a
    hundred times as long per call and a second to import.
    """
    centre = (rate + _Z_95**2 / (2 * n)) / (1 + _Z_95**2 / n)
    half = _Z_95 * math.sqrt(rate * (1 - rate) / n + _Z_95**2 / (4 * n**2)) / (1 + _Z_95**2 / n)
    return max(0.0, min(rate, centre - half)), min(1.0, max(rate, centre + half))


def mean_of_rates_interval(rates: npt.NDArray[Any], counts: npt.NDArray[Any]) -> Interval:
    """Return the 95 % interval of a mean of independent rates, from the Wilson interval of each (Zou and Donner, 2008).

    A bootstrap finds no variance where every rate is 0 or 1; this does.

    Args:
        rates: float [rate], such as the recall of each class.
        counts: int [rate], examples behind each.
    """
    bounds = np.asarray([wilson_interval(float(rate), int(n)) for rate, n in zip(rates, counts, strict=True)])
    mean = float(np.mean(rates))
    below = math.sqrt(float(np.sum((rates - bounds[:, 0]) ** 2))) / len(rates)
    above = math.sqrt(float(np.sum((bounds[:, 1] - rates) ** 2))) / len(rates)
    return max(0.0, mean - below), min(1.0, mean + above)


def group_weights(clusters: Clusters, samples: range) -> Weights:
    """Return how often each row counts in each bootstrap sample: float32 [row, sample], Poisson with mean 1.

    A Poisson bootstrap (Chamandy et al. 2012), as TFMA's own, but of groups instead of rows, since images of one lesion
    resemble each other. Weights follow from the group and the number of the sample: the same group has the same
    weights in every slice and for every model, so that differences can be taken sample by sample, and nothing depends
    on how rows are spread over workers.
    """
    # splitmix64 (Steele et al. 2014) of group and sample: a stateless source of uniform bits.
    distinct, place = np.unique(clusters, return_inverse=True)
    numbers = np.asarray(samples, np.uint64) + np.uint64(1)
    mixed = distinct[:, None] + numbers * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    uniform = ((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(32)).astype(np.uint32)
    weights = np.zeros(uniform.shape, np.float32)
    for bound in _POISSON:
        weights += uniform >= bound
    return weights[place.reshape(-1)]


def resampled(metrics: Mapping[str, Weighted], labels: Labels, scores: Scores, clusters: Clusters) -> dict[str, Values]:
    """Return each metric in each bootstrap sample: float64 [SAMPLES]; memory does not grow with the number of samples.

    All metrics see the same samples.
    """
    block = max(1, _BLOCK // max(1, len(labels)))
    found: dict[str, list[Values]] = {name: [] for name in metrics}
    for start in range(0, SAMPLES, block):
        weights = group_weights(clusters, range(start, min(start + block, SAMPLES)))
        for name, metric in metrics.items():
            found[name].append(metric(labels, scores, weights))
    return {name: np.concatenate(values) for name, values in found.items()}


def percentile_interval(values: Values, estimate: float) -> Interval:
    """Return the middle 95 % of a bootstrap, widened to hold the estimate where need be; NaN if it is undefined."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return math.nan, math.nan
    lower, upper = np.percentile(defined, _PERCENTILES)
    return min(float(lower), estimate), max(float(upper), estimate)
