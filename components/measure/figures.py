"""Figures of rows: the value, count and 95 % interval of metrics."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from dermrobust.components.evaluation import weighted
from dermrobust.components.evaluation.intervals import (
    Interval,
    Weighted,
    percentile_interval,
    resampled,
    wilson_interval,
)
from dermrobust.components.evaluation.metrics.metric import Estimate, Metric, Problem, Rate, Rows
from dermrobust.components.evaluation.rows import Figure


def figures_of(rows: Rows, metrics: Iterable[Metric], problem: Problem) -> dict[str, Figure]:
    """Return the figure of each metric; an undefined one has the value NaN and no interval."""
    found: dict[str, Figure] = {}
    estimates: dict[str, tuple[Estimate, float]] = {}
    for metric in metrics:
        n = int(metric.at_risk(rows, problem).sum())
        if isinstance(metric.formula, Rate):
            found[metric.name] = _rate(metric.formula, rows, problem, n)
        else:
            ones = weighted.once(len(rows.labels))
            value = float(metric.formula.value(rows.labels, metric.formula.scores_of(rows), ones, problem)[0])
            found[metric.name] = Figure(value, n)
            if not math.isnan(value):
                estimates[metric.name] = (metric.formula, value)
    # All metrics see the same bootstrap samples: the weights are what costs.
    functions = {name: _weighted(formula, rows, problem) for name, (formula, _) in estimates.items()}
    for name, samples in resampled(functions, rows.labels, rows.scores, rows.clusters).items():
        formula, value = estimates[name]
        lower, upper = percentile_interval(samples, value)
        if formula.analytic is not None:
            lower, upper = _wider((lower, upper), formula.analytic(rows.labels, rows.scores))
        found[name] = Figure(value, found[name].n, lower, upper)
    return found


def _weighted(formula: Estimate, rows: Rows, problem: Problem) -> Weighted:
    own = formula.scores_of(rows)
    return lambda labels, scores, weights: formula.value(labels, own, weights, problem)


def _rate(formula: Rate, rows: Rows, problem: Problem, n: int) -> Figure:
    if not n:
        return Figure(math.nan, 0)
    happened, at_risk = formula.cases(rows, problem)
    value = int(np.sum(happened & at_risk)) / n
    return Figure(value, n, *wilson_interval(value, n))


def _wider(one: Interval, other: Interval) -> Interval:
    return min(other[0], one[0]), max(other[1], one[1])
