"""Heat map of classes and attacks."""

from __future__ import annotations

from dermrobust.components.evaluation.reading import Evaluation
from dermrobust.pipeline.report import tables, wording
from dermrobust.pipeline.report.panel import ReportPanel


def heatmap(evaluation: Evaluation) -> tables.TableSet:
    """Return the metrics of each class under each attack, for each model, budget and metric."""
    task, norm = evaluation.about.task, evaluation.about.norm
    title = task.slice_title(task.class_key)

    def table(keys: dict[str, str]) -> tables.Table:
        model, metric, epsilon = keys["model"], keys["metric"], float(keys["epsilon"])
        shown = wording.metric(metric, task)
        by = f"{shown.class_label} by {title.lower()}"
        caption = f"{by}, model {model}, ε {wording.budget(epsilon, norm)}; {shown.direction}"
        rows = ((_heading(evaluation, name), {"where": f"{task.class_key}={name}"}) for name in task.class_names)
        place = {"model": model, "metric": metric, "epsilon": epsilon}
        return tables.crossed(evaluation, keys, caption, rows, tables.attacks_axis(evaluation), **place)

    known = {place.metric for place in evaluation.figures if place.slice.startswith(f"{task.class_key}=")}
    metrics = tables.metric_selector(evaluation, wording.metrics_for("classes", known), None, of_class=True)
    selectors = (tables.model_selector(evaluation), metrics, tables.epsilon_selector(evaluation))
    return tables.table_set("heatmap", title, "heat", selectors, table)


def _heading(evaluation: Evaluation, name: str) -> tables.Heading:
    task = evaluation.about.task
    remarks = (task.class_title(name), "malignant" if name in task.malignant else "")
    return tables.Heading(name, name, ", ".join(filter(None, remarks)))


PANEL = ReportPanel("{subject} classes", "classes.html", lambda evaluation, _: {"heatmap": heatmap(evaluation)})
