"""The heat map lesion class × attack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dermrobust.components.evaluation.reading import Evaluation
from dermrobust.pipeline.report import wording
from dermrobust.pipeline.report.boards import (
    Board,
    Choice,
    Heading,
    Option,
    Panel,
    Row,
    combinations,
    epsilon_choice,
    model_choice,
)
from dermrobust.pipeline.report.lineage import Lineage
from dermrobust.pipeline.report.panel import ReportPanel
from dermrobust.pipeline.report.panels.attacks import attack_columns


def heatmap(evaluation: Evaluation) -> Board:
    """Return how each lesion class fares under each attack, for each model, budget and metric."""
    task = evaluation.about.task
    known = {place.metric for place in evaluation.figures if place.slice.startswith(f"{task.class_key}=")}
    names = wording.metrics_for("classes", known)
    options = tuple(Option(name, wording.metric(name, task).class_label) for name in names)
    metrics = Choice("metric", "Metric", options, options[0].value if options else "")
    choices = (model_choice(evaluation), metrics, epsilon_choice(evaluation))
    panels = tuple(_panel(evaluation, keys) for keys in combinations(choices))
    return Board("heatmap", task.slice_title(task.class_key), "heat", choices, panels)


def _panel(evaluation: Evaluation, keys: dict[str, str]) -> Panel:
    model, metric, epsilon = keys["model"], keys["metric"], float(keys["epsilon"])
    task = evaluation.about.task
    rows = tuple(
        Row(
            _class_heading(evaluation, name),
            tuple(
                evaluation.figure(model, attack, epsilon, metric, f"{task.class_key}={name}")
                for attack in evaluation.conditions
            ),
        )
        for name in task.class_names
    )
    budget = wording.budget(epsilon, evaluation.about.norm)
    shown = wording.metric(metric, task)
    by = task.slice_title(task.class_key).lower()
    caption = f"{shown.class_label} by {by}, model {model}, ε {budget}; {shown.direction}"
    return Panel(keys, caption, attack_columns(evaluation), rows, shown.more_is_better)


def _class_heading(evaluation: Evaluation, name: str) -> Heading:
    task = evaluation.about.task
    remarks = (task.class_title(name), "malignant" if name in task.malignant else "")
    return Heading(name, name, ", ".join(remark for remark in remarks if remark))


def _values(evaluation: Evaluation, lineage: Lineage) -> Mapping[str, Any]:
    return {"heatmap": heatmap(evaluation)}


PANEL = ReportPanel("{subject} classes", "classes.html", _values)
