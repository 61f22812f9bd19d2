"""Macro AUC: mean one-versus-rest area under the ROC curve."""

from __future__ import annotations

import numpy as np

from dermrobust.components.evaluation.metrics.metric import Estimate, Metric, Problem
from dermrobust.components.evaluation.weighted import (
    Labels,
    Scores,
    Values,
    Weights,
    ascending,
    mean_of_defined,
    share,
    sums_from_zero,
)


def macro_auc(labels: Labels, scores: Scores, weights: Weights, problem: Problem | None = None) -> Values:
    """Return the mean one-versus-rest AUC over the classes with both positives and negatives.

    Exact: the share of (positive, negative) pairs that the score puts in the right order, ties counting a half
    (Hanley and McNeil, 1982).
    """
    areas = []
    for index in np.unique(labels):
        positive = labels == index
        if positive.all():
            continue
        order = ascending(scores[:, index], ~positive)
        negatives = scores[order, index]
        below = sums_from_zero(weights[order])
        chosen = scores[positive, index]
        # Below counts half, not above counts half: a tie counts once in two, without a case of its own.
        pairs = below[np.searchsorted(negatives, chosen, "left")] + below[np.searchsorted(negatives, chosen, "right")]
        won = np.einsum("ij,ij->j", weights[positive], pairs, dtype=np.float64) / 2
        areas.append(share(won, weights[positive].sum(axis=0) * below[-1]))
    return mean_of_defined(areas, weights)


METRIC = Metric(
    name="macro_auc",
    formula=Estimate(macro_auc),
    title="Macro AUC",
    meaning="area under the ROC curve, one class against the others, mean over classes",
    needs_other_classes=True,
    places=frozenset({"groups", "card"}),
)
