"""Missed malignancies: images of malignant classes that are called benign, clean or under attack."""

from __future__ import annotations

from dermrobust.components.evaluation.metrics.metric import Flags, Metric, Problem, Rate, Rows


def _cases(rows: Rows, problem: Problem) -> tuple[Flags, Flags]:
    """Return which rows are called benign, and which are of malignant classes."""
    return ~problem.malignant[rows.predicted], problem.malignant[rows.labels]


METRIC = Metric(
    name="missed_malignant",
    formula=Rate(_cases),
    title="Missed malignancies",
    meaning="share of images of malignant classes that are called benign, by the attack or without it",
    higher_is_better=False,
    places=frozenset({"clinical", "card"}),
    headline=frozenset({"clean", "largest"}),
)
