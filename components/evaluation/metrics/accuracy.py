"""Accuracy: share of images whose class is right."""

from __future__ import annotations

import numpy as np

from dermrobust.components.evaluation.metrics.metric import Flags, Metric, Problem, Rate, Rows


def right(rows: Rows, problem: Problem) -> tuple[Flags, Flags]:
    """Return which rows are right, of all rows; ties go to the first class, as `argmax` has it."""
    return rows.predicted == rows.labels, np.ones(len(rows.labels), np.bool_)


METRIC = Metric(
    name="accuracy",
    formula=Rate(right),
    title="Accuracy",
    class_title="Recall",
    meaning="share of images whose class is right",
    compared=True,
    places=frozenset({"classes", "groups", "card", "terminal", "corruptions"}),
)
