"""Robustness curve: metrics over the attacker's budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dermrobust.attacks.threat import Norm
from dermrobust.components.evaluation.names import CLEAN, WORST_CASE
from dermrobust.components.evaluation.reading import Evaluation
from dermrobust.components.evaluation.schemas import OVERALL
from dermrobust.pipeline.report import tables, wording
from dermrobust.pipeline.report.charts import LineChart, line_chart, series
from dermrobust.pipeline.report.lineage import Lineage
from dermrobust.pipeline.report.panel import ReportPanel

_MEANING = {
    Norm.LINF: "largest change of a pixel",
    Norm.L2: "length of the change",
    Norm.L1: "sum of all changes",
    Norm.L0: "number of changed pixels",
}


def robustness_selectors(evaluation: Evaluation) -> tuple[tables.Selector, ...]:
    """Return the selectors of the curve: the metric, and the attack."""
    under_attack = {*evaluation.conditions} - {CLEAN}
    attacked = [place for place in evaluation.figures if place.slice == OVERALL and place.attack in under_attack]
    known = {place.attack for place in attacked}
    attacks = [name for name in (WORST_CASE, *evaluation.attacks) if name in known]
    # A radius is no rate, and capped by each budget; the panel of minimal perturbations shows it.
    metrics = dict.fromkeys(place.metric for place in attacked if place.metric != "median_robust_radius")
    return tables.metric_selector(evaluation, metrics), tables.attack_selector(evaluation, attacks)


def robustness_table(evaluation: Evaluation, metric: str, attack: str) -> tables.TableSet:
    """Return the figures of a curve as a table; clean images are budget 0."""
    label = wording.metric(metric, evaluation.about.task).label
    caption = f"{label} over the budget, {wording.condition(attack).lower()}"
    rows, columns = tables.models_axis(evaluation), tables.budgets_axis(evaluation, attack)
    table = tables.crossed(evaluation, {}, caption, rows, columns, metric=metric)
    return tables.TableSet(f"curve-{metric}-{attack}", "Model", "bars", (), (table,))


def robustness_chart(evaluation: Evaluation, metric: str, attack: str) -> LineChart:
    """Return a line for each model over the budgets; clean images are budget 0."""
    about, (table,) = evaluation.about, robustness_table(evaluation, metric, attack).tables
    budgets = (0.0, *about.epsilons)
    lines = [series(row.heading.key, zip(budgets, row.cells, strict=True)) for row in table.rows]
    ticks = [(epsilon, wording.budget(epsilon, about.norm)) for epsilon in budgets]
    axis = f"budget ε of the attacker ({_MEANING[Norm(about.norm)]})"
    label = wording.metric(metric, about.task).label
    return line_chart(table.caption, label, axis, lines, ticks, asked=_asked(evaluation, metric, attack))


def _asked(evaluation: Evaluation, metric: str, attack: str) -> float | None:
    """Return the highest minimum that the gate asks of a metric of all images under an attack, if any."""
    thresholds = [] if evaluation.blessing is None else [each.threshold for each in evaluation.blessing.thresholds]
    return max(
        (
            each.min
            for each in thresholds
            if (each.metric, each.attack) == (metric, attack) and not each.class_name and not each.slice and each.min
        ),
        default=None,
    )


def _curves(evaluation: Evaluation) -> Iterator[Mapping[str, Any]]:
    selectors = robustness_selectors(evaluation)
    for keys in tables.combinations(selectors):
        chart, table = robustness_chart(evaluation, **keys), robustness_table(evaluation, **keys)
        first = all(keys[each.name] == each.first for each in selectors)
        yield {"keys": keys, "chart": chart, "table": table, "first": first}


def _values(evaluation: Evaluation, lineage: Lineage) -> Mapping[str, Any]:
    return {"curves": list(_curves(evaluation)), "curve_selectors": robustness_selectors(evaluation)}


PANEL = ReportPanel("Robustness curve", "curve.html", _values)
