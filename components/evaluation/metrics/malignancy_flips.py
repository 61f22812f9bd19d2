"""Flips between malignant and benign: on one side when clean, taken for the other under attack."""

from __future__ import annotations

from collections.abc import Callable

from dermrobust.components.evaluation.metrics.metric import Flags, Metric, Problem, Rate, Rows


def flipped(malignant: bool) -> Callable[[Rows, Problem], tuple[Flags, Flags]]:
    """Return the cases of a `Rate`: attacked rows of one side, malignant or not, that are on it when clean, too."""

    def cases(rows: Rows, problem: Problem) -> tuple[Flags, Flags]:
        side = problem.malignant == malignant
        return ~side[rows.predicted], (rows.clean >= 0) & side[rows.labels] & side[rows.clean]

    return cases


MISSED = Metric(
    name="malignant_to_benign",
    formula=Rate(flipped(malignant=True)),
    title="Malignant to benign",
    meaning="share of images of malignant classes, called malignant when clean, that are called benign",
    higher_is_better=False,
    needs_attack=True,
    places=frozenset({"clinical"}),
)
ALARMED = Metric(
    name="benign_to_malignant",
    formula=Rate(flipped(malignant=False)),
    title="Benign to malignant",
    meaning="share of images of benign classes, called benign when clean, that are called malignant",
    higher_is_better=False,
    needs_attack=True,
    places=frozenset({"clinical"}),
)
