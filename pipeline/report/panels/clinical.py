"""Clinical figures: sensitivity to critical classes, dangerous confusions, calibration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dermrobust.components.evaluation.reading import Evaluation
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
    model_choice,
)
from dermrobust.pipeline.report.lineage import Lineage
from dermrobust.pipeline.report.panel import ReportPanel


def clinic(evaluation: Evaluation) -> Board:
    """Return the clinical metrics of each model, clean and at each budget, for the worst case and each attack."""
    known = wording.metrics_for("clinical", evaluation.metrics)
    measured = {place.attack for place in evaluation.figures if place.metric in known}
    attacks = [name for name in (WORST_CASE, *evaluation.attacks) if name in measured]
    options = tuple(Option(name, wording.condition(name)) for name in attacks)
    choices = (model_choice(evaluation), Choice("attack", "Attack", options, attacks[0] if attacks else ""))
    panels = tuple(_panel(evaluation, known, keys) for keys in combinations(choices))
    return Board("clinic", "Images", "bars", choices, panels)


def _panel(evaluation: Evaluation, metrics: list[str], keys: dict[str, str]) -> Panel:
    model, attack = keys["model"], keys["attack"]
    rows = [(Heading("0", "Clean"), CLEAN, 0.0)]
    for epsilon in evaluation.about.epsilons:
        text = f"{wording.condition(attack)}, ε {wording.budget(epsilon, evaluation.about.norm)}"
        rows.append((Heading(key(epsilon), text), attack, epsilon))
    cells = tuple(
        Row(heading, tuple(evaluation.figure(model, name, epsilon, metric) for metric in metrics))
        for heading, name, epsilon in rows
    )
    return Panel(
        keys, f"Clinical figures of model {model}", tuple(_heading(evaluation, name) for name in metrics), cells
    )


def _heading(evaluation: Evaluation, metric: str) -> Heading:
    shown = wording.metric(metric, evaluation.about.task)
    note = shown.direction
    if metric == "critical_sensitivity":
        note = f"at specificity {evaluation.about.specificity:g}; {note}"
    return Heading(metric, shown.label, note)


def _values(evaluation: Evaluation, lineage: Lineage) -> Mapping[str, Any]:
    return {"clinic": clinic(evaluation)}


PANEL = ReportPanel("Clinical figures", "clinical.html", _values)
