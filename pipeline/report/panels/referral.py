"""Selective prediction: coverage, accuracy and missed malignancies at each referral rate; risk-coverage curves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dermrobust.components.evaluation import files
from dermrobust.components.evaluation.conditions import of_referral
from dermrobust.components.evaluation.names import CLEAN, WORST_CASE
from dermrobust.components.evaluation.reading import Evaluation
from dermrobust.components.evaluation.referral_params import ReferralSettings
from dermrobust.components.evaluation.referrals import Rejector
from dermrobust.components.evaluation.rows import Figure
from dermrobust.pipeline.report import tables, wording
from dermrobust.pipeline.report.charts import LineChart, line_chart, series
from dermrobust.pipeline.report.lineage import Lineage
from dermrobust.pipeline.report.panel import ReportPanel
from dermrobust.pipeline.report.panels.certificates import slices_of

METRICS = {
    "coverage": "Coverage",
    "accuracy": "Accuracy of the rest",
    "balanced_accuracy": "Balanced accuracy of the rest",
    "unreferred_missed": "Missed malignancies, not referred",
    "unreferred_errors": "Errors, not referred",
}
"""Figures of a classifier that refers images, with their titles here: the rest are images that are not referred."""
_TICKS = [(tick / 5, f"{tick / 5:.1f}") for tick in range(6)]


def rates_of(evaluation: Evaluation) -> dict[str, float]:
    """Return the referral rates by their text; none where nothing is referred."""
    settings = ReferralSettings.model_validate(evaluation.about.referral)
    return {f"{rate:g}": rate for rate in settings.rates}


def conditions_of(evaluation: Evaluation) -> list[tuple[str, float]]:
    """Return clean images, and every attack and the worst case at each budget: (name, epsilon)."""
    attacks = [name for name in evaluation.attacks if name in evaluation.about.attacks]
    return [
        (CLEAN, 0.0),
        *((name, epsilon) for epsilon in evaluation.about.epsilons for name in (*attacks, WORST_CASE)),
    ]


def referral_figure(
    evaluation: Evaluation, rate: float, model: str, attack: str, epsilon: float, metric: str, where: str
) -> Figure | None:
    """Return a figure of a classifier that refers images.

    Args:
        evaluation: the evaluation.
        rate: referral rate.
        model: name of the model.
        attack: "none", an attack, or "worst_case".
        epsilon: budget in 1/255, 0 for clean images.
        metric: name of the metric.
        where: slice of the images.
    """
    return evaluation.figure(model, of_referral(rate, attack), epsilon, metric, where)


def referral_tables(evaluation: Evaluation) -> tables.TableSet:
    """Return for each metric, model and rate by class: the figure on clean images and under every attack."""
    rates, conditions = rates_of(evaluation), conditions_of(evaluation)
    columns = tuple(
        tables.Heading(f"{attack}-{epsilon:g}", wording.under(attack, epsilon, evaluation.about.norm))
        for attack, epsilon in conditions
    )

    def table(keys: dict[str, str]) -> tables.Table:
        rate, model, metric = rates[keys["rate"]], keys["model"], keys["metric"]
        rows = tuple(
            tables.Row(
                tables.Heading(where, label),
                tuple(
                    referral_figure(evaluation, rate, model, attack, epsilon, metric, where)
                    for attack, epsilon in conditions
                ),
            )
            for label, where in slices_of(evaluation).items()
        )
        shown = wording.metric(metric)
        caption = f"{METRICS[metric]}, model {model}, referral rate {keys['rate']}; {shown.direction}"
        return tables.Table(keys, caption, columns, rows, shown.more_is_better)

    selectors = (
        tables.selector("metric", "Metric", METRICS, first="unreferred_missed"),
        tables.selector("model", "Model", evaluation.models, first=evaluation.candidate),
        tables.selector("rate", "Referral rate", rates),
    )
    return tables.table_set("referral-table", "Images", "bars", selectors, table)


def risk_charts(evaluation: Evaluation) -> Iterator[LineChart]:
    """Yield the risk-coverage curves of all models on clean images, and in the worst case at each budget."""
    rows = evaluation.table(files.RISK_COVERAGE).to_pylist()
    for attack, epsilon in dict.fromkeys((row["attack"], row["epsilon"]) for row in rows):
        lines = []
        for model in evaluation.models:
            points = [row for row in rows if (row["model"], row["attack"], row["epsilon"]) == (model, attack, epsilon)]
            figures = ((row["coverage"], Figure(row["risk"], row["n"], row["lower"], row["upper"])) for row in points)
            lines.append(series(model, figures))
        title = f"Risk over coverage, {wording.under(attack, epsilon, evaluation.about.norm)}"
        yield line_chart(title, "Risk", "coverage", lines, _TICKS)


def rejector_rows(evaluation: Evaluation) -> list[tuple[str, list[str]]]:
    """Return how each rejector was fitted: (model, cells)."""
    rows = []
    for model, content in evaluation.about.rejectors.items():
        found = Rejector.model_validate(content)
        cells = [
            wording.number(found.temperature),
            *(wording.number(each.threshold) for each in found.thresholds),
            f"{wording.number(found.ece_before)} to {wording.number(found.ece_after)}",
            wording.count(found.images),
        ]
        rows.append((model, cells))
    return rows


def _values(evaluation: Evaluation, lineage: Lineage) -> Mapping[str, Any]:
    del lineage
    rates = rates_of(evaluation)
    if not rates:
        return {"referral_table": None, "risk_charts": (), "rejectors": (), "referral_rates": ()}
    return {
        "referral_table": referral_tables(evaluation),
        "risk_charts": list(risk_charts(evaluation)),
        "rejectors": rejector_rows(evaluation),
        "referral_rates": list(rates),
    }


PANEL = ReportPanel("Selective prediction", "referral.html", _values)
