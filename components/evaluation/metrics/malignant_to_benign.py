"""Flips from malignant to benign: malignant when clean, taken for benign under attack."""

from __future__ import annotations

from dermrobust.components.evaluation.metrics.metric import Flags, Metric, Problem, Rate, Rows


def missed(rows: Rows, problem: Problem) -> tuple[Flags, Flags]:
    """Return which rows are called benign, of the attacked malignant ones that are called malignant when clean."""
    malignant = problem.malignant
    at_risk = (rows.clean >= 0) & malignant[rows.labels] & malignant[rows.clean]
    return ~malignant[rows.predicted], at_risk


METRIC = Metric(
    name="malignant_to_benign",
    formula=Rate(missed),
    title="Malignant to benign",
    meaning="share of images of malignant classes, called malignant when clean, that are called benign",
    higher_is_better=False,
    needs_attack=True,
    places=frozenset({"clinical"}),
    headline=frozenset({"smallest"}),
)
