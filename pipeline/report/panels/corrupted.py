"""Metrics under natural corruptions: noise, blur, compression and others, in five severities.

The scheme is that of Hendrycks and Dietterich 2019 (arXiv 1903.12261).
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from dermrobust.components.evaluation.names import CLEAN
from dermrobust.components.evaluation.reading import Evaluation
from dermrobust.components.evaluation.rows import Figure
from dermrobust.pipeline.report import tables, wording
from dermrobust.pipeline.report.charts import LineChart, line_chart, series
from dermrobust.pipeline.report.lineage import Lineage
from dermrobust.pipeline.report.panel import ReportPanel

MEAN = "mean"


class CorruptionFigures:
    """Figures under corruptions by model, corruption, severity and metric.

    Attributes:
        names: corruptions, and the mean over them.
        severities: severities in order.
        metrics: metrics that were measured.
    """

    def __init__(self, evaluation: Evaluation) -> None:
        rows = evaluation.corruptions or ()
        self._evaluation = evaluation
        self._found = {
            (row.model, row.corruption, row.severity, row.metric): Figure(row.value, row.n, row.lower, row.upper)
            for row in rows
        }
        self.names = (*dict.fromkeys(row.corruption for row in rows), MEAN)
        self.severities = sorted({row.severity for row in rows})
        self.metrics = list(dict.fromkeys(row.metric for row in rows))

    def row(self, model: str, name: str, metric: str) -> list[Figure | None]:
        """Return the figure on clean images and at each severity."""
        return [
            self._evaluation.figure(model, CLEAN, 0.0, metric),
            *(self._at(model, name, severity, metric) for severity in self.severities),
        ]

    def _at(self, model: str, name: str, severity: int, metric: str) -> Figure | None:
        if name != MEAN:
            return self._found.get((model, name, severity, metric))
        return mean([self._at(model, each, severity, metric) for each in self.names if each != MEAN])


def mean(figures: list[Figure | None]) -> Figure | None:
    """Return the mean of figures, without an interval; None where one is missing."""
    present = [figure for figure in figures if figure is not None]
    if not present or len(present) < len(figures):
        return None
    return Figure(fmean(figure.value for figure in present), min(figure.n for figure in present))


def corruption_tables(evaluation: Evaluation) -> tables.TableSet:
    """Return every corruption by severity, for each model and metric, and the mean over corruptions."""
    found = CorruptionFigures(evaluation)
    columns = (
        tables.Heading("0", "Clean"),
        *(tables.Heading(str(severity), f"Severity {severity}") for severity in found.severities),
        tables.Heading(MEAN, "Mean", "over severities; without an interval"),
    )

    def table(keys: dict[str, str]) -> tables.Table:
        shown = wording.metric(keys["metric"], evaluation.about.task)
        rows = []
        for name in found.names:
            text = "mean over corruptions" if name == MEAN else name.replace("_", " ")
            cells = found.row(keys["model"], name, keys["metric"])
            rows.append(tables.Row(tables.Heading(name, text), (*cells, mean(cells[1:]))))
        caption = f"{shown.label} under corruptions, model {keys['model']}"
        return tables.Table(keys, caption, columns, tuple(rows), shown.more_is_better)

    selectors = (tables.model_selector(evaluation), tables.metric_selector(evaluation, found.metrics))
    return tables.table_set("corruption-table", "Corruption", "heat", selectors, table)


def corruption_charts(evaluation: Evaluation) -> list[tuple[str, list[LineChart]]]:
    """Return for each metric a chart of the mean over corruptions, and one for each corruption."""
    found = CorruptionFigures(evaluation)
    ticks = ((0.0, "clean"), *((float(severity), str(severity)) for severity in found.severities))
    places = [x for x, _ in ticks]

    def chart(metric: str, name: str) -> LineChart:
        label = wording.metric(metric, evaluation.about.task).label
        lines = [series(model, zip(places, found.row(model, name, metric), strict=True)) for model in evaluation.models]
        title = "Mean over corruptions" if name == MEAN else name.replace("_", " ")
        return line_chart(title, label, "severity", lines, ticks, small=name != MEAN)

    names = (MEAN, *(name for name in found.names if name != MEAN))
    return [(metric, [chart(metric, name) for name in names]) for metric in found.metrics]


def _values(evaluation: Evaluation, lineage: Lineage) -> Mapping[str, Any]:
    metrics = CorruptionFigures(evaluation).metrics
    return {
        "corruptions": corruption_tables(evaluation) if evaluation.corruptions else None,
        "corruption_charts": corruption_charts(evaluation),
        "metric_selector": tables.metric_selector(evaluation, metrics, None),
    }


PANEL = ReportPanel("Image corruptions", "corrupted.html", _values)
