"""Clinical figures: sensitivity to critical classes, dangerous confusions, calibration."""

from __future__ import annotations

from dermrobust.components.evaluation.names import WORST_CASE
from dermrobust.components.evaluation.reading import Evaluation
from dermrobust.pipeline.report import tables, wording
from dermrobust.pipeline.report.panel import ReportPanel


def clinic(evaluation: Evaluation) -> tables.TableSet:
    """Return the clinical metrics of each model, clean and at each budget, for the worst case and each attack."""
    metrics = wording.metrics_for("clinical", evaluation.metrics)

    def table(keys: dict[str, str]) -> tables.Table:
        model, attack = keys["model"], keys["attack"]
        rows = tables.budgets_axis(evaluation, attack, label=f"{wording.condition(attack)}, ε")
        columns = ((_heading(evaluation, name), {"metric": name}) for name in metrics)
        return tables.crossed(evaluation, keys, f"Clinical figures of model {model}", rows, columns, model=model)

    measured = {place.attack for place in evaluation.figures if place.metric in metrics}
    attacks = [name for name in (WORST_CASE, *evaluation.attacks) if name in measured]
    selectors = (tables.model_selector(evaluation), tables.attack_selector(evaluation, attacks))
    return tables.table_set("clinic", "Images", "bars", selectors, table)


def _heading(evaluation: Evaluation, metric: str) -> tables.Heading:
    shown = wording.metric(metric, evaluation.about.task)
    note = shown.direction
    if metric == "critical_sensitivity":
        note = f"at specificity {evaluation.about.specificity:g}; {note}"
    return tables.Heading(metric, shown.label, note)


PANEL = ReportPanel("Clinical figures", "clinical.html", lambda evaluation, _: {"clinic": clinic(evaluation)})
