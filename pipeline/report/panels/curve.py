"""The robustness curve: what is left of a model as the attacker's budget grows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dermrobust.components.evaluation.reading import Evaluation
from dermrobust.components.evaluation.rows import Figure
from dermrobust.components.evaluation.schemas import OVERALL
from dermrobust.components.evaluation.thresholds import CLEAN, WORST_CASE
from dermrobust.pipeline.report import wording
from dermrobust.pipeline.report.boards import (
    Board,
    Choice,
    Heading,
    Option,
    Panel,
    Row,
    combinations,
    key,
    metric_choice,
)
from dermrobust.pipeline.report.charts import LineChart, Point, Series, line_chart
from dermrobust.pipeline.report.lineage import Lineage
from dermrobust.pipeline.report.panel import ReportPanel


def robustness_choices(evaluation: Evaluation) -> tuple[Choice, ...]:
    """Return the controls of the curve: the metric, and the attack."""
    attacked = [p for p in evaluation.figures if p.slice == OVERALL and p.attack != CLEAN]
    metrics = list(dict.fromkeys(place.metric for place in attacked))
    known = {place.attack for place in attacked}
    attacks = [name for name in (WORST_CASE, *evaluation.attacks) if name in known]
    options = tuple(Option(name, wording.condition(name)) for name in attacks)
    return metric_choice(evaluation, metrics), Choice("attack", "Attack", options, attacks[0] if attacks else "")


def robustness_chart(evaluation: Evaluation, metric: str, attack: str) -> LineChart:
    """Return a line for each model over the budgets; clean images are budget 0."""
    norm = evaluation.about.norm
    series = [Series(row.heading.label, _points(evaluation, row.cells)) for row in _rows(evaluation, metric, attack)]
    ticks = [(epsilon, wording.budget(epsilon, norm)) for epsilon in (0.0, *evaluation.about.epsilons)]
    label = wording.metric(metric, evaluation.about.task).label
    return line_chart(f"{label} over the budget, {wording.condition(attack).lower()}", label, "ε", series, ticks)


def robustness_table(evaluation: Evaluation, metric: str, attack: str) -> Board:
    """Return the figures of a curve as a table."""
    norm = evaluation.about.norm
    columns = [Heading(key(epsilon), f"ε {wording.budget(epsilon, norm)}") for epsilon in evaluation.about.epsilons]
    shown = wording.metric(metric, evaluation.about.task)
    caption = f"{shown.label} over the budget, {wording.condition(attack).lower()}"
    headings = (Heading("0", "Clean"), *columns)
    rows = tuple(_rows(evaluation, metric, attack))
    panel = Panel({}, caption, headings, rows, shown.more_is_better)
    return Board(f"curve-{metric}-{attack}", "Model", "bars", (), (panel,))


def _rows(evaluation: Evaluation, metric: str, attack: str) -> list[Row]:
    places = [(CLEAN, 0.0), *((attack, epsilon) for epsilon in evaluation.about.epsilons)]
    return [
        Row(Heading(model, model), tuple(evaluation.figure(model, name, epsilon, metric) for name, epsilon in places))
        for model in evaluation.models
    ]


def _points(evaluation: Evaluation, cells: tuple[Figure | None, ...]) -> tuple[Point, ...]:
    budgets = (0.0, *evaluation.about.epsilons)
    return tuple(
        Point(x, cell.value, cell.lower, cell.upper, f"n {cell.n}")
        for x, cell in zip(budgets, cells, strict=True)
        if cell
    )


def _curves(evaluation: Evaluation) -> list[Mapping[str, Any]]:
    choices = robustness_choices(evaluation)
    return [
        {
            "keys": keys,
            "chart": robustness_chart(evaluation, keys["metric"], keys["attack"]),
            "table": robustness_table(evaluation, keys["metric"], keys["attack"]),
            "first": all(keys[choice.name] == choice.first for choice in choices),
        }
        for keys in combinations(choices)
    ]


def _values(evaluation: Evaluation, lineage: Lineage) -> Mapping[str, Any]:
    return {"curves": _curves(evaluation), "curve_choices": robustness_choices(evaluation)}


PANEL = ReportPanel("Robustness curve", "curve.html", _values)
