"""Balanced accuracy: mean recall over the classes."""

from __future__ import annotations

import numpy as np

from dermrobust.components.evaluation.intervals import Interval, mean_of_rates_interval
from dermrobust.components.evaluation.metrics.metric import Estimate, Metric, Problem
from dermrobust.components.evaluation.weighted import Labels, Scores, Values, Weights, mean_of_defined, share


def balanced_accuracy(labels: Labels, scores: Scores, weights: Weights, problem: Problem | None = None) -> Values:
    """Return the mean recall over the classes that have weight."""
    present, place = np.unique(labels, return_inverse=True)
    member = np.eye(len(present), dtype=np.float32)[place.reshape(-1)].T
    right = member * (scores.argmax(axis=1) == labels)
    return mean_of_defined(list(share(right @ weights, member @ weights)), weights)


def recalls_interval(labels: Labels, scores: Scores) -> Interval:
    """Return the interval of the mean recall that follows from the Wilson interval of each.

    Where all predictions are right, or all are wrong, a bootstrap finds no variance; this interval does.
    """
    present, counts = np.unique(labels, return_counts=True)
    right = scores.argmax(axis=1) == labels
    return mean_of_rates_interval(np.asarray([right[labels == index].mean() for index in present]), counts)


METRIC = Metric(
    name="balanced_accuracy",
    formula=Estimate(balanced_accuracy, analytic=recalls_interval),
    title="Balanced accuracy",
    meaning="mean of the recalls of all classes",
    chance=lambda classes: 1 / classes,
    compared=True,
    places=frozenset({"groups", "card", "terminal", "corruptions"}),
    headline=frozenset({"clean", "smallest", "largest"}),
)
