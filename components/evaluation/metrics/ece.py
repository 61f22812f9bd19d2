"""Expected calibration error (Guo et al. 2017, arXiv 1706.04599)."""

from __future__ import annotations

import numpy as np

from dermrobust.components.evaluation.metrics.metric import Estimate, Metric, Problem
from dermrobust.components.evaluation.weighted import Labels, Scores, Values, Weights, share

BINS = 15
"""Bins of equal width, as in the paper."""


def calibration_error(labels: Labels, scores: Scores, weights: Weights, problem: Problem | None = None) -> Values:
    """Return the distance between confidence and accuracy, as the weighted mean over bins of confidence."""
    confidence = scores.max(axis=1)
    # A confidence of exactly 1 belongs to the last bin, not to one beyond it.
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    gaps = (confidence - (scores.argmax(axis=1) == labels)).astype(np.float32)
    member = np.eye(BINS, dtype=np.float32)[bins].T * gaps
    return share(np.abs(member @ weights).sum(axis=0, dtype=np.float64), weights.sum(axis=0, dtype=np.float64))


METRIC = Metric(
    name="ece",
    formula=Estimate(calibration_error),
    title="Calibration error",
    meaning="expected difference between confidence and accuracy (ECE), 15 bins",
    higher_is_better=False,
    places=frozenset({"clinical"}),
)
