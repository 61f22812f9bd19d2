"""Flips from benign to malignant: benign when clean, taken for malignant under attack."""

from __future__ import annotations

from dermrobust.components.evaluation.metrics.metric import Flags, Metric, Problem, Rate, Rows


def alarmed(rows: Rows, problem: Problem) -> tuple[Flags, Flags]:
    """Return which rows are called malignant, of the attacked benign ones that are called benign when clean."""
    malignant = problem.malignant
    at_risk = (rows.clean >= 0) & ~malignant[rows.labels] & ~malignant[rows.clean]
    return malignant[rows.predicted], at_risk


METRIC = Metric(
    name="benign_to_malignant",
    formula=Rate(alarmed),
    title="Benign to malignant",
    meaning="share of images of benign classes, called benign when clean, that are called malignant",
    higher_is_better=False,
    needs_attack=True,
    places=frozenset({"clinical"}),
)
