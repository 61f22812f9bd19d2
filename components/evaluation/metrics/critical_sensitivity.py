"""Sensitivity to the critical classes at a fixed specificity."""

from __future__ import annotations

import numpy as np

from dermrobust.components.evaluation.metrics.metric import Estimate, Flags, Metric, Problem, Rows
from dermrobust.components.evaluation.weighted import Labels, Scores, Values, Weights, ascending, share, sums_from_zero


def sensitivity(labels: Labels, scores: Scores, weights: Weights, problem: Problem) -> Values:
    """Return the share of critical images above the lowest threshold that spares the wanted share of the others.

    The score of an image is the sum of its probabilities of the critical classes.
    """
    positive = np.isin(labels, problem.critical)
    if positive.all() or not positive.any():
        return np.full(weights.shape[1], np.nan)
    critical = scores[:, list(problem.critical)].sum(axis=1)
    order = ascending(critical, ~positive)
    negatives = critical[order]
    spared = sums_from_zero(weights[order])[1:]
    # Weights are whole numbers: the share that must be spared may be missed by rounding, not by a unit.
    place = (spared < problem.specificity * spared[-1].astype(np.float64) - 1e-6).sum(axis=0)
    threshold = negatives[np.minimum(place, len(negatives) - 1)]
    above = critical[positive][:, None] > threshold
    values = share((above * weights[positive]).sum(axis=0), weights[positive].sum(axis=0))
    return np.where(spared[-1] > 0, values, np.nan)


def _critical(rows: Rows, problem: Problem) -> Flags:
    return np.isin(rows.labels, problem.critical)


METRIC = Metric(
    name="critical_sensitivity",
    formula=Estimate(sensitivity, at_risk=_critical),
    title="Sensitivity to {critical}",
    meaning="share of images of the critical classes found when the threshold gives the stated specificity",
    needs_other_classes=True,
    places=frozenset({"groups", "clinical"}),
)
