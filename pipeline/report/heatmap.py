"""The heat map lesion class × attack."""

from __future__ import annotations

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
from dermrobust.pipeline.report.evaluation import Evaluation
from dermrobust.pipeline.report.matrix import attack_columns

_LABELS = {"accuracy": "Recall", "attack_success_rate": "Attack success"}
"""Within one class accuracy is the recall of that class."""


def heatmap(evaluation: Evaluation) -> Board:
    """Return how each lesion class fares under each attack, for each model, budget and metric."""
    known = {place.metric for place in evaluation.figures if place.slice.startswith("dx=")}
    options = tuple(Option(name, label) for name, label in _LABELS.items() if name in known)
    metrics = Choice("metric", "Metric", options, options[0].value if options else "")
    choices = (model_choice(evaluation), metrics, epsilon_choice(evaluation))
    panels = tuple(_panel(evaluation, keys) for keys in combinations(choices))
    return Board("heatmap", "Lesion class", "heat", choices, panels)


def _panel(evaluation: Evaluation, keys: dict[str, str]) -> Panel:
    model, metric, epsilon = keys["model"], keys["metric"], float(keys["epsilon"])
    rows = tuple(
        Row(
            _class_heading(evaluation, name),
            tuple(evaluation.figure(model, attack, epsilon, metric, f"dx={name}") for attack in evaluation.conditions),
        )
        for name in evaluation.about.class_names
    )
    budget = wording.budget(epsilon, evaluation.about.norm)
    better = wording.metric(metric).more_is_better
    caption = f"{_LABELS[metric]} by lesion class, model {model}, ε {budget}; {'more' if better else 'less'} is better"
    return Panel(keys, caption, attack_columns(evaluation), rows, better)


def _class_heading(evaluation: Evaluation, name: str) -> Heading:
    remarks = (wording.lesion(name), "malignant" if name in evaluation.about.malignant else "")
    return Heading(name, name, ", ".join(remark for remark in remarks if remark))
