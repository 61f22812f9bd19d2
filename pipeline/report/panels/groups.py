"""Metrics by group of patients, clean and in the worst case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dermrobust.components.evaluation.reading import Evaluation
from dermrobust.components.evaluation.schemas import OVERALL
from dermrobust.components.evaluation.thresholds import CLEAN, WORST_CASE
from dermrobust.pipeline.report import wording
from dermrobust.pipeline.report.boards import (
    Board,
    Heading,
    Panel,
    Row,
    combinations,
    key,
    metric_choice,
    model_choice,
)
from dermrobust.pipeline.report.lineage import Lineage
from dermrobust.pipeline.report.panel import ReportPanel


def fairness(evaluation: Evaluation) -> Board:
    """Return the groups of patients, for each model and metric."""
    groups = patient_slices(evaluation)
    known = {place.metric for place in evaluation.figures if place.slice in groups}
    choices = (model_choice(evaluation), metric_choice(evaluation, wording.metrics_for("groups", known)))
    panels = tuple(_panel(evaluation, groups, keys) for keys in combinations(choices))
    return Board("fairness", "Group", "bars", choices, panels)


def patient_slices(evaluation: Evaluation) -> tuple[str, ...]:
    """Return the slices that are groups of patients, feature by feature; those that cross features come last."""
    class_key = evaluation.about.task.class_key
    groups = [
        name for name in evaluation.slices if name != OVERALL and (not name.startswith(f"{class_key}=") or "," in name)
    ]
    return tuple(sorted(groups, key=lambda name: ("," in name, name.split("=")[0] if "," not in name else "", name)))


def columns(evaluation: Evaluation) -> tuple[tuple[Heading, str, float], ...]:
    """Return clean images and the worst case at each budget, each as heading, attack and epsilon."""
    clean = (Heading(CLEAN, wording.condition(CLEAN)), CLEAN, 0.0)
    worst = tuple(
        (Heading(key(epsilon), f"Worst case, ε {wording.budget(epsilon, evaluation.about.norm)}"), WORST_CASE, epsilon)
        for epsilon in evaluation.about.epsilons
        if WORST_CASE in evaluation.conditions
    )
    return (clean, *worst)


def _panel(evaluation: Evaluation, groups: tuple[str, ...], keys: dict[str, str]) -> Panel:
    model, metric = keys["model"], keys["metric"]
    measured = columns(evaluation)
    rows = tuple(
        Row(
            group_heading(evaluation, name),
            tuple(evaluation.figure(model, attack, epsilon, metric, name) for _, attack, epsilon in measured),
        )
        for name in (OVERALL, *groups)
    )
    shown = wording.metric(metric, evaluation.about.task)
    filled = tuple(row for row in rows if any(row.cells))
    caption = f"{shown.label} by group of patients, model {model}"
    return Panel(keys, caption, tuple(heading for heading, _, _ in measured), filled, shown.more_is_better)


def group_heading(evaluation: Evaluation, name: str) -> Heading:
    """Return a slice as a reader knows it: "female", of the feature "Sex"."""
    if name == OVERALL:
        return Heading(OVERALL, "All images")
    parts = [part.partition("=") for part in name.split(",")]
    label = ", ".join(value for _, _, value in parts)
    return Heading(name, label, " × ".join(evaluation.about.task.slice_title(feature) for feature, _, _ in parts))


def gaps(evaluation: Evaluation, model: str, metric: str = "accuracy") -> list[tuple[str, str, float, str, str]]:
    """Return, for each feature and condition, the distance between the best and the worst group that is not small.

    Each as (feature, condition, gap, worst group, best group); features with fewer than two such groups are left out.
    """
    found = []
    groups = [name for name in patient_slices(evaluation) if "," not in name]
    for feature in dict.fromkeys(name.split("=")[0] for name in groups):
        for heading, attack, epsilon in columns(evaluation):
            named = {
                name.split("=")[1]: figure.value
                for name in groups
                if name.startswith(f"{feature}=")
                and (figure := evaluation.figure(model, attack, epsilon, metric, name)) is not None
                and not figure.small
            }
            if len(named) > 1:
                worst, best = min(named, key=named.__getitem__), max(named, key=named.__getitem__)
                found.append(
                    (evaluation.about.task.slice_title(feature), heading.label, named[best] - named[worst], worst, best)
                )
    return found


def _values(evaluation: Evaluation, lineage: Lineage) -> Mapping[str, Any]:
    return {"fairness": fairness(evaluation), "gaps": gaps(evaluation, evaluation.candidate)}


PANEL = ReportPanel("Groups of patients", "groups.html", _values)
