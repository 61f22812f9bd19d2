"""Abstention rate: share of images for which nothing is certified."""

from __future__ import annotations

import numpy as np

from dermrobust.components.evaluation.metrics.metric import Flags, Metric, Problem, Rate, Rows


def _abstained(rows: Rows, problem: Problem) -> tuple[Flags, Flags]:
    """Return which rows have no certified radius, of all rows."""
    return rows.radius == 0, np.ones(len(rows.labels), np.bool_)


METRIC = Metric(
    name="abstention_rate",
    formula=Rate(_abstained),
    title="Abstention rate",
    meaning="share of images for which randomized smoothing certifies no class",
    higher_is_better=False,
    of_certificates=True,
)
