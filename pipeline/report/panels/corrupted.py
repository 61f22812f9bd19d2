"""Metrics under natural corruptions: noise, blur, compression and others, in five severities.

The scheme is that of Hendrycks and Dietterich 2019 (arXiv 1903.12261).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from dermrobust.components.evaluation.reading import Evaluation
from dermrobust.components.evaluation.rows import Corruption, Figure
from dermrobust.components.evaluation.thresholds import CLEAN
from dermrobust.pipeline.report import wording
from dermrobust.pipeline.report.boards import (
    Board,
    Choice,
    Heading,
    Option,
    Panel,
    Row,
    combinations,
    metric_choice,
    model_choice,
)
from dermrobust.pipeline.report.charts import LineChart, Point, Series, line_chart
from dermrobust.pipeline.report.lineage import Lineage
from dermrobust.pipeline.report.panel import ReportPanel

MEAN = "mean"
_Found = dict[tuple[str, str, int, str], Figure]


def corruption_board(evaluation: Evaluation) -> Board:
    """Return every corruption by severity, for each model and metric, and the mean over corruptions."""
    found, names = _found(evaluation), _names(evaluation)
    metrics = _metrics(evaluation)
    choices: tuple[Choice, ...] = (model_choice(evaluation), metric_choice(evaluation, metrics))
    severities = sorted({severity for _, _, severity, _ in found})
    columns = (
        Heading("0", "Clean"),
        *(Heading(str(severity), f"Severity {severity}") for severity in severities),
        Heading(MEAN, "Mean", "over severities; without an interval"),
    )
    panels = []
    for keys in combinations(choices):
        model, metric = keys["model"], keys["metric"]
        rows = []
        for name in (*names, MEAN):
            cells = [_at(found, model, name, severity, metric, names) for severity in severities]
            clean = evaluation.figure(model, CLEAN, 0.0, metric)
            text = "mean over corruptions" if name == MEAN else name.replace("_", " ")
            rows.append(Row(Heading(name, text), (clean, *cells, _mean(cells))))
        caption = f"{wording.metric(metric, evaluation.about.task).label} under corruptions, model {model}"
        panels.append(
            Panel(keys, caption, columns, tuple(rows), wording.metric(metric, evaluation.about.task).more_is_better)
        )
    return Board("corruption-table", "Corruption", "heat", choices, tuple(panels))


def corruption_charts(evaluation: Evaluation) -> list[tuple[str, list[LineChart]]]:
    """Return for each metric a chart of the mean over corruptions, and one for each corruption."""
    found, names = _found(evaluation), _names(evaluation)
    severities = sorted({severity for _, _, severity, _ in found})
    ticks = ((0.0, "clean"), *((float(severity), str(severity)) for severity in severities))
    charts = []
    for metric in _metrics(evaluation):
        drawn = []
        label = wording.metric(metric, evaluation.about.task).label
        for name in (MEAN, *names):
            series = [_series(evaluation, found, model, name, metric, severities, names) for model in evaluation.models]
            title = "Mean over corruptions" if name == MEAN else name.replace("_", " ")
            drawn.append(line_chart(title, label, "severity", series, ticks, small=name != MEAN))
        charts.append((metric, drawn))
    return charts


def severity_choice(evaluation: Evaluation) -> Choice:
    """Return the control for the metric of the charts."""
    names = _metrics(evaluation)
    options = tuple(Option(name, wording.metric(name, evaluation.about.task).label) for name in names)
    return Choice("metric", "Metric", options, names[0] if names else "")


def _series(
    evaluation: Evaluation,
    found: _Found,
    model: str,
    name: str,
    metric: str,
    severities: Sequence[int],
    names: Sequence[str],
) -> Series:
    figures = [(0, evaluation.figure(model, CLEAN, 0.0, metric))]
    figures += [(severity, _at(found, model, name, severity, metric, names)) for severity in severities]
    points = (
        Point(float(x), figure.value, figure.lower, figure.upper, f"n {figure.n}") for x, figure in figures if figure
    )
    return Series(model, tuple(points))


def _at(found: _Found, model: str, name: str, severity: int, metric: str, names: Sequence[str]) -> Figure | None:
    if name != MEAN:
        return found.get((model, name, severity, metric))
    return _mean([found.get((model, each, severity, metric)) for each in names])


def _mean(figures: Sequence[Figure | None]) -> Figure | None:
    present = [figure for figure in figures if figure is not None]
    if not present or len(present) < len(figures):
        return None
    return Figure(fmean(figure.value for figure in present), min(figure.n for figure in present))


def _found(evaluation: Evaluation) -> _Found:
    return {
        (row.model, row.corruption, row.severity, row.metric): Figure(row.value, row.n, row.lower, row.upper)
        for row in _rows(evaluation)
    }


def _rows(evaluation: Evaluation) -> tuple[Corruption, ...]:
    return evaluation.corruptions or ()


def _names(evaluation: Evaluation) -> list[str]:
    return list(dict.fromkeys(row.corruption for row in _rows(evaluation)))


def _metrics(evaluation: Evaluation) -> list[str]:
    return list(dict.fromkeys(row.metric for row in _rows(evaluation)))


def _values(evaluation: Evaluation, lineage: Lineage) -> Mapping[str, Any]:
    return {
        "corruptions": corruption_board(evaluation) if evaluation.corruptions else None,
        "corruption_charts": corruption_charts(evaluation),
        "severity_choice": severity_choice(evaluation),
    }


PANEL = ReportPanel("Image corruptions", "corrupted.html", _values)
