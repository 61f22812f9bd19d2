"""Median robust radius: median distance of the nearest misclassified images."""

from __future__ import annotations

import numpy as np

from dermrobust.attacks.threat import PIXEL_LEVELS
from dermrobust.components.evaluation.metrics.metric import Estimate, Flags, Metric, Problem, Rows
from dermrobust.components.evaluation.weighted import Labels, Scores, Values, Weights


def median_radius(labels: Labels, radii: Scores, weights: Weights, problem: Problem | None = None) -> Values:
    """Return the lower median of the radii float32 [row, 1], NaN left out, on the scale of images in [0, 1].

    The lower of two middle values is one that was measured: in L-infinity a multiple of 1/255.
    """
    known = ~np.isnan(radii[:, 0])
    if not known.any():
        return np.full(weights.shape[1], np.nan)
    order = np.flatnonzero(known)[np.argsort(radii[known, 0], kind="stable")]
    sums = np.cumsum(weights[order], axis=0, dtype=np.float64)
    middle = np.argmax(2 * sums >= sums[-1], axis=0)
    return np.where(sums[-1] > 0, radii[order[middle], 0] / PIXEL_LEVELS, np.nan)


def _known(rows: Rows, problem: Problem) -> Flags:
    return ~np.isnan(rows.radius)


METRIC = Metric(
    name="median_robust_radius",
    formula=Estimate(median_radius, at_risk=_known, scores=lambda rows: rows.radius[:, None]),
    title="Median robust radius",
    meaning="median distance of the nearest misclassified image that `minimal` or `hop_skip_jump` finds, where a pixel "
    "is 0 to 1; 0 for images misclassified when clean, the budget where none is found",
    needs_attack=True,
)
