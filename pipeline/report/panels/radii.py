"""Minimal perturbations: curve of robust accuracy over every budget, and median robust radii by class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from dermrobust.components.evaluation import files
from dermrobust.components.evaluation.description import Description
from dermrobust.components.evaluation.radii import budgets, robust_accuracy
from dermrobust.components.evaluation.reading import Evaluation
from dermrobust.components.evaluation.rows import Figure
from dermrobust.components.evaluation.schemas import OVERALL
from dermrobust.pipeline.report import wording
from dermrobust.pipeline.report.charts import LineChart, line_chart, series
from dermrobust.pipeline.report.lineage import Lineage
from dermrobust.pipeline.report.panel import ReportPanel

METRIC = "median_robust_radius"


def radius_chart(evaluation: Evaluation, radii: pa.Table, attack: str) -> LineChart:
    """Return the accuracy of each model over the budget, at every budget that can be told apart."""
    norm = evaluation.about.norm
    steps = list(budgets(radii, norm))
    lines = [
        series(model, [(epsilon, robust_accuracy(radii, model, epsilon, attack=attack)) for epsilon in steps])
        for model in evaluation.about.models
    ]
    ticks = [(epsilon, wording.budget(epsilon, norm)) for epsilon in steps[:: max(1, len(steps) // 8)]]
    if ticks[-1][0] != steps[-1]:
        ticks[-1] = (steps[-1], wording.budget(steps[-1], norm))
    return line_chart(f"Robust accuracy over the budget, {attack}", "Robust accuracy", "budget ε", lines, ticks)


def median_rows(evaluation: Evaluation, attack: str) -> list[tuple[str, list[str]]]:
    """Return the median robust radius of each class, and of all images, for each model: (class, cells)."""
    about = evaluation.about
    largest = max(about.epsilons)
    slices = {"all images": OVERALL} | {name: f"{about.task.class_key}={name}" for name in about.task.class_names}
    return [
        (
            name,
            [_cell(evaluation.figure(model, attack, largest, METRIC, where), about) for model in about.models],
        )
        for name, where in slices.items()
    ]


def _cell(figure: Figure | None, about: Description) -> str:
    if figure is None:
        return "–"
    few = f"; n < {about.min_slice_size}: too few to judge" if figure.small else ""
    return f"{radius_text(figure, max(about.epsilons), about.norm)}{few}"


def radius_text(figure: Figure, largest: float, norm: str) -> str:
    """Return a median radius with its interval and n: "1/255 [0.8/255 to 1.2/255], n 1,930".

    Args:
        figure: radius, where a pixel is 0 to 1.
        largest: largest budget that was tried, in 1/255; medians from there on are marked with "≥".
        norm: norm of the radius.
    """

    def text(value: float) -> str:
        levels = round(value * 255, 4)
        return ("≥ " if levels >= largest else "") + wording.budget(levels, norm)

    ends = [text(end) for end in (figure.lower, figure.upper) if end is not None]
    interval = f" [{' to '.join(ends)}]" if figure.has_interval else ""
    return f"{text(figure.value)}{interval}, n {wording.count(figure.n)}"


def minimizing(evaluation: Evaluation) -> list[str]:
    """Return the names of the attacks that found radii."""
    return list(dict.fromkeys(place.attack for place in evaluation.figures if place.metric == METRIC))


def _values(evaluation: Evaluation, lineage: Lineage) -> Mapping[str, Any]:
    measured = minimizing(evaluation)
    if not measured:
        return {"radii": ()}
    table = evaluation.table(files.RADII)
    return {
        "radii": [
            {"attack": name, "chart": radius_chart(evaluation, table, name), "rows": median_rows(evaluation, name)}
            for name in measured
        ]
    }


PANEL = ReportPanel("Minimal perturbations", "radii.html", _values)
