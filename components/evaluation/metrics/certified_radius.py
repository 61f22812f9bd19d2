"""Certified radius: mean and median L2 distance within which the class is certified to be correct."""

from __future__ import annotations

import numpy as np

from dermrobust.attacks.threat import PIXEL_LEVELS
from dermrobust.components.evaluation.metrics.median_robust_radius import median_radius
from dermrobust.components.evaluation.metrics.metric import Estimate, Metric, Problem, Rows
from dermrobust.components.evaluation.weighted import Labels, Scores, Values, Weights, share


def _mean_radius(labels: Labels, radii: Scores, weights: Weights, problem: Problem | None = None) -> Values:
    """Return the mean of the radii float32 [row, 1] on the scale of images in [0, 1]."""
    return share(radii[:, 0].astype(np.float64) @ weights, weights.sum(axis=0, dtype=np.float64)) / PIXEL_LEVELS


def _correct(rows: Rows) -> Scores:
    """Return the certified radius of images whose certified class is correct, 0 of the others: float32 [row, 1]."""
    return np.where(rows.predicted == rows.labels, rows.radius, 0)[:, None].astype(np.float32)


_MEANING = "{} L2 radius within which randomized smoothing certifies the correct class, where a pixel is 0 to 1; 0 for "
_MEANING += "images without such a certificate"

MEAN = Metric(
    name="mean_certified_radius",
    formula=Estimate(_mean_radius, scores=_correct),
    title="Mean certified radius",
    meaning=_MEANING.format("mean") + " (average certified radius, ACR, of Zhai et al. 2020)",
    of_certificates=True,
)
MEDIAN = Metric(
    name="median_certified_radius",
    formula=Estimate(median_radius, scores=_correct),
    title="Median certified radius",
    meaning=_MEANING.format("median"),
    of_certificates=True,
)
