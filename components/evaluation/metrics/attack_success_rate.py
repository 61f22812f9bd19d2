"""Attack success rate: share of the images that are right when clean whose class the attack changes."""

from __future__ import annotations

from dermrobust.components.evaluation.metrics.metric import Flags, Metric, Problem, Rate, Rows


def succeeded(rows: Rows, problem: Problem) -> tuple[Flags, Flags]:
    """Return which rows are wrong, of the attacked rows whose clean prediction is right."""
    return rows.predicted != rows.labels, (rows.clean >= 0) & (rows.clean == rows.labels)


METRIC = Metric(
    name="attack_success_rate",
    formula=Rate(succeeded),
    title="Attack success",
    meaning="share of images classified rightly when clean whose class the attack changes",
    higher_is_better=False,
    needs_attack=True,
    places=frozenset({"classes"}),
)
