"""Arithmetic of weighted rows, for many weightings at once: one of ones is the metric, others are its bootstrap."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.integer[Any]]
"""Class indices [row]."""
Scores = npt.NDArray[np.float32]
"""Probabilities float32 [row, class_count]."""
Weights = npt.NDArray[np.float32]
"""Number of times that each row counts in each of several samples: float32 [row, sample]."""
Values = npt.NDArray[np.float64]
"""A metric in each sample: float64 [sample], NaN where it is undefined."""


def once(count: int) -> Weights:
    """Return the weighting in which each of so many rows counts once: float32 [count, 1]."""
    return np.ones((count, 1), np.float32)


def ascending(scores: npt.NDArray[np.float32], chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """Return the places of chosen rows, from the lowest score to the highest."""
    places = np.flatnonzero(chosen)
    return places[np.argsort(scores[places], kind="stable")]


def sums_from_zero(weights: Weights) -> Weights:
    """Return sums of the rows before each row, and of all: float32 [row + 1, sample], exact below 2 ** 24."""
    sums = np.zeros((len(weights) + 1, weights.shape[1]), np.float32)
    np.cumsum(weights, axis=0, out=sums[1:])
    return sums


def share(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> Values:
    """Return part / whole; NaN where whole is 0."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)


def mean_of_defined(values: list[Values], weights: Weights) -> Values:
    """Return the mean over those that are defined, sample by sample."""
    if not values:
        return np.full(weights.shape[1], np.nan)
    stacked = np.stack(values)
    defined = ~np.isnan(stacked)
    return share(np.where(defined, stacked, 0).sum(axis=0), defined.sum(axis=0))
