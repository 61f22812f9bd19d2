"""Metrics by group of patients, clean and in the worst case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dermrobust.components.evaluation.names import CLEAN, WORST_CASE
from dermrobust.components.evaluation.reading import Evaluation
from dermrobust.components.evaluation.schemas import OVERALL
from dermrobust.pipeline.report import tables, wording
from dermrobust.pipeline.report.panel import ReportPanel


def fairness(evaluation: Evaluation) -> tables.TableSet:
    """Return the metrics of the groups of patients, for each model and metric."""
    groups = patient_slices(evaluation)

    def table(keys: dict[str, str]) -> tables.Table:
        model, metric = keys["model"], keys["metric"]
        caption = f"{wording.metric(metric, evaluation.about.task).label} by group of patients, model {model}"
        rows = ((group_heading(evaluation, name), {"where": name}) for name in (OVERALL, *groups))
        found = tables.crossed(evaluation, keys, caption, rows, columns(evaluation), model=model, metric=metric)
        return replace(found, rows=tuple(row for row in found.rows if any(row.cells)))

    known = {place.metric for place in evaluation.figures if place.slice in groups}
    metrics = tables.metric_selector(evaluation, wording.metrics_for("groups", known))
    return tables.table_set("fairness", "Group", "bars", (tables.model_selector(evaluation), metrics), table)


def patient_slices(evaluation: Evaluation) -> tuple[str, ...]:
    """Return the slices that are groups of patients, feature by feature; those that cross features come last."""
    class_key = evaluation.about.task.class_key
    groups = [
        name for name in evaluation.slices if name != OVERALL and (not name.startswith(f"{class_key}=") or "," in name)
    ]
    return tuple(sorted(groups, key=lambda name: ("," in name, name.split("=")[0] if "," not in name else "", name)))


def columns(evaluation: Evaluation) -> list[tuple[tables.Heading, Mapping[str, Any]]]:
    """Return clean images and the worst case at each budget as columns."""
    return list(tables.budgets_axis(evaluation, WORST_CASE, clean=CLEAN, label="Worst case, ε"))


def group_heading(evaluation: Evaluation, name: str) -> tables.Heading:
    """Return the heading of a slice: "female", with the remark "Sex"."""
    if name == OVERALL:
        return tables.Heading(OVERALL, "All images")
    parts = [part.partition("=") for part in name.split(",")]
    label = ", ".join(value for _, _, value in parts)
    return tables.Heading(
        name, label, " × ".join(evaluation.about.task.slice_title(feature) for feature, _, _ in parts)
    )


def gaps(evaluation: Evaluation, model: str, metric: str = "accuracy") -> list[tuple[str, str, float, str, str]]:
    """Return, for each feature and condition, the distance between the best and the worst group that is not small.

    Each as (feature, condition, gap, worst group, best group); features with fewer than two such groups are left out.
    """
    found = []
    groups = [name for name in patient_slices(evaluation) if "," not in name]
    for feature in dict.fromkeys(name.split("=")[0] for name in groups):
        for heading, place in columns(evaluation):
            named = {
                name.split("=")[1]: figure.value
                for name in groups
                if name.startswith(f"{feature}=")
                and (figure := evaluation.figure(model=model, metric=metric, where=name, **place)) is not None
                and not figure.small
            }
            if len(named) > 1:
                worst, best = min(named, key=named.__getitem__), max(named, key=named.__getitem__)
                found.append(
                    (evaluation.about.task.slice_title(feature), heading.label, named[best] - named[worst], worst, best)
                )
    return found


PANEL = ReportPanel(
    "Groups of patients",
    "groups.html",
    lambda evaluation, _: {"fairness": fairness(evaluation), "gaps": gaps(evaluation, evaluation.candidate)},
)
