"""Metrics of weighted rows, for many weightings at once: one of ones is the metric, others are its bootstrap."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.integer[Any]]
"""Class indices [row]."""
Scores = npt.NDArray[np.float32]
"""Probabilities float32 [row, class_count]."""
Weights = npt.NDArray[np.float32]
"""How often each row counts in each of several samples: float32 [row, sample]."""
Values = npt.NDArray[np.float64]
"""A metric in each sample: float64 [sample], NaN where it is undefined."""

CALIBRATION_BINS = 15
"""Of equal width, as Guo et al. 2017 (arXiv 1706.04599) have them."""


def once(count: int) -> Weights:
    """Return the weighting in which each of so many rows counts once: float32 [count, 1]."""
    return np.ones((count, 1), np.float32)


def balanced_accuracy(labels: Labels, scores: Scores, weights: Weights) -> Values:
    """Mean recall over the classes that have weight."""
    present, place = np.unique(labels, return_inverse=True)
    member = np.eye(len(present), dtype=np.float32)[place.reshape(-1)].T
    right = member * (scores.argmax(axis=1) == labels)
    return _mean(list(_share(right @ weights, member @ weights)), weights)


def macro_auc(labels: Labels, scores: Scores, weights: Weights) -> Values:
    """Mean one-versus-rest area under the ROC curve over the classes with both positives and negatives.

    Exact: the share of (positive, negative) pairs that the score puts in the right order, ties counting a half
    (Hanley and McNeil, 1982).
    """
    areas = []
    for index in np.unique(labels):
        positive = labels == index
        if positive.all():
            continue
        order = _ascending(scores[:, index], ~positive)
        negatives = scores[order, index]
        below = _sums_from_zero(weights[order])
        chosen = scores[positive, index]
        pairs = below[np.searchsorted(negatives, chosen, "left")] + below[np.searchsorted(negatives, chosen, "right")]
        won = np.einsum("ij,ij->j", weights[positive], pairs, dtype=np.float64) / 2
        areas.append(_share(won, weights[positive].sum(axis=0) * below[-1]))
    return _mean(areas, weights)


def calibration_error(labels: Labels, scores: Scores, weights: Weights) -> Values:
    """Expected calibration error: how far confidence is from accuracy, in the mean over bins of confidence."""
    confidence = scores.max(axis=1)
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    gaps = (confidence - (scores.argmax(axis=1) == labels)).astype(np.float32)
    member = np.eye(CALIBRATION_BINS, dtype=np.float32)[bins].T * gaps
    return _share(np.abs(member @ weights).sum(axis=0, dtype=np.float64), weights.sum(axis=0, dtype=np.float64))


def sensitivity_at(
    labels: Labels, scores: Scores, weights: Weights, *, positive_class: int, specificity: float
) -> Values:
    """Share of a class's images that score above the lowest threshold which spares so many of the others.

    Args:
        labels: see `Labels`.
        scores: see `Scores`.
        weights: see `Weights`.
        positive_class: the class that must not be missed.
        specificity: share of the other images whose score is not above the threshold, at least.
    """
    positive = labels == positive_class
    if positive.all() or not positive.any():
        return np.full(weights.shape[1], np.nan)
    order = _ascending(scores[:, positive_class], ~positive)
    negatives = scores[order, positive_class]
    spared = _sums_from_zero(weights[order])[1:]
    # Weights are whole numbers: the share that must be spared may be missed by rounding, not by a unit.
    place = (spared < specificity * spared[-1].astype(np.float64) - 1e-6).sum(axis=0)
    threshold = negatives[np.minimum(place, len(negatives) - 1)]
    above = scores[positive, positive_class][:, None] > threshold
    values = _share((above * weights[positive]).sum(axis=0), weights[positive].sum(axis=0))
    return np.where(spared[-1] > 0, values, np.nan)


def _ascending(scores: npt.NDArray[np.float32], chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """Return the places of chosen rows, from the lowest score to the highest."""
    places = np.flatnonzero(chosen)
    return places[np.argsort(scores[places], kind="stable")]


def _sums_from_zero(weights: Weights) -> Weights:
    """Return sums of the rows before each row, and of all: float32 [row + 1, sample], exact below 2 ** 24."""
    sums = np.zeros((len(weights) + 1, weights.shape[1]), np.float32)
    np.cumsum(weights, axis=0, out=sums[1:])
    return sums


def _share(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> Values:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)


def _mean(values: list[Values], weights: Weights) -> Values:
    """Return the mean over those that are defined, sample by sample."""
    if not values:
        return np.full(weights.shape[1], np.nan)
    stacked = np.stack(values)
    defined = ~np.isnan(stacked)
    return _share(np.where(defined, stacked, 0).sum(axis=0), defined.sum(axis=0))
