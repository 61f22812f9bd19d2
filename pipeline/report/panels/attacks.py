"""Matrix of models and attacks."""

from __future__ import annotations

from dermrobust.components.evaluation.reading import Evaluation
from dermrobust.components.evaluation.schemas import OVERALL
from dermrobust.pipeline.report import tables, wording
from dermrobust.pipeline.report.panel import ReportPanel


def matrix(evaluation: Evaluation) -> tables.TableSet:
    """Return all models under all attacks, for each metric and budget."""
    about = evaluation.about

    def table(keys: dict[str, str]) -> tables.Table:
        metric, epsilon = keys["metric"], float(keys["epsilon"])
        shown = wording.metric(metric, about.task)
        caption = f"{shown.label} at ε {wording.budget(epsilon, about.norm)}, all test images; {shown.direction}"
        rows, columns = tables.models_axis(evaluation), tables.attacks_axis(evaluation)
        return tables.crossed(evaluation, keys, caption, rows, columns, metric=metric, epsilon=epsilon)

    under = {*evaluation.conditions}
    overall = dict.fromkeys(
        place.metric for place in evaluation.figures if place.slice == OVERALL and place.attack in under
    )
    selectors = (tables.metric_selector(evaluation, overall), tables.epsilon_selector(evaluation))
    return tables.table_set("matrix", "Model", "bars", selectors, table)


PANEL = ReportPanel("Models under attack", "attacks.html", lambda evaluation, _: {"matrix": matrix(evaluation)})
