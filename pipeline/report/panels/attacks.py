"""The matrix model × attack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dermrobust.components.evaluation.reading import Evaluation
from dermrobust.components.evaluation.schemas import OVERALL
from dermrobust.components.evaluation.thresholds import CONSTANT
from dermrobust.pipeline.report import wording
from dermrobust.pipeline.report.boards import Board, Heading, Panel, Row, combinations, epsilon_choice, metric_choice
from dermrobust.pipeline.report.lineage import Lineage
from dermrobust.pipeline.report.panel import ReportPanel


def matrix(evaluation: Evaluation) -> Board:
    """Return all models under all attacks, for each metric and budget."""
    overall = dict.fromkeys(place.metric for place in evaluation.figures if place.slice == OVERALL)
    choices = (metric_choice(evaluation, list(overall)), epsilon_choice(evaluation))
    panels = tuple(_panel(evaluation, keys) for keys in combinations(choices))
    return Board("matrix", "Model", "bars", choices, panels)


def attack_columns(evaluation: Evaluation) -> tuple[Heading, ...]:
    """Return a heading for clean images, for every attack, and for the worst case."""
    return tuple(Heading(name, wording.condition(name)) for name in evaluation.conditions)


def _panel(evaluation: Evaluation, keys: dict[str, str]) -> Panel:
    metric, epsilon = keys["metric"], float(keys["epsilon"])
    shown = wording.metric(metric, evaluation.about.task)
    rows = tuple(
        Row(
            Heading(model, model, _role(evaluation, model)),
            tuple(evaluation.figure(model, attack, epsilon, metric) for attack in evaluation.conditions),
        )
        for model in evaluation.models
    )
    caption = f"{shown.label} at ε {wording.budget(epsilon, evaluation.about.norm)}, all test images; {shown.direction}"
    return Panel(keys, caption, attack_columns(evaluation), rows, shown.more_is_better)


def _role(evaluation: Evaluation, model: str) -> str:
    gated = None if evaluation.blessing is None else evaluation.candidate
    roles = {
        evaluation.about.baseline: "baseline",
        gated: "candidate",
        CONSTANT: f"always {evaluation.about.constant_class}",
    }
    return roles.get(model, "")


def _values(evaluation: Evaluation, lineage: Lineage) -> Mapping[str, Any]:
    return {"matrix": matrix(evaluation)}


PANEL = ReportPanel("Models under attack", "attacks.html", _values)
