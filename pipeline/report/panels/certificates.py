"""Certificates by randomized smoothing: certified accuracy over the radius, and what attacks leave, by class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dermrobust.components.evaluation.certificate_params import CertificateSettings
from dermrobust.components.evaluation.conditions import CERTIFIED, SMOOTHED, of_smoothing
from dermrobust.components.evaluation.names import canonical_epsilon
from dermrobust.components.evaluation.reading import Evaluation
from dermrobust.components.evaluation.rows import Figure
from dermrobust.components.evaluation.schemas import OVERALL
from dermrobust.pipeline.report import tables, wording
from dermrobust.pipeline.report.charts import LineChart, line_chart, series
from dermrobust.pipeline.report.lineage import Lineage
from dermrobust.pipeline.report.panel import ReportPanel

_RADII = ("mean_certified_radius", "median_certified_radius")


def settings_of(evaluation: Evaluation) -> CertificateSettings:
    """Return the settings of the certificates of an evaluation; without certificates they have no sigmas."""
    return CertificateSettings.model_validate(evaluation.about.certificates)


def radii_of(evaluation: Evaluation) -> dict[float, str]:
    """Return the radii that figures were measured at: their text by their value in 1/255."""
    found = (canonical_epsilon(threat.epsilon) for threat in settings_of(evaluation).radii)
    return {radius: wording.budget(radius, "l2") for radius in found}


def slices_of(evaluation: Evaluation) -> dict[str, str]:
    """Return the name of the slice of all images and of those of each class, by its label."""
    task = evaluation.about.task
    return {"all images": OVERALL} | {name: f"{task.class_key}={name}" for name in task.class_names}


def certificate_figure(
    evaluation: Evaluation, family: str, sigma: float, model: str, epsilon: float, where: str, metric: str = "accuracy"
) -> Figure | None:
    """Return a figure of a smoothed classifier.

    Args:
        evaluation: the evaluation.
        family: `conditions.CERTIFIED` or `conditions.SMOOTHED`.
        sigma: deviation of the noise.
        model: name of the model.
        epsilon: L2 radius in 1/255, 0 for clean images.
        where: slice of the images.
        metric: name of the metric.
    """
    return evaluation.figure(model, of_smoothing(family, sigma), epsilon, metric, where)


def certificate_tables(evaluation: Evaluation) -> tables.TableSet:
    """Return for each model and sigma by class: clean accuracy, abstentions, and both bounds at each radius."""
    settings, radii = settings_of(evaluation), radii_of(evaluation)
    sigmas = {f"{sigma:g}": sigma for sigma in settings.sigmas}
    bounds = {CERTIFIED: "certified"} | ({SMOOTHED: "under attack"} if settings.attacks else {})
    columns = (
        tables.Heading("clean", "Clean", "smoothed classifier; abstentions count as errors"),
        tables.Heading("abstention_rate", "No certificate"),
        *(
            tables.Heading(f"{family}-{radius:g}", text, bounds[family])
            for radius, text in radii.items()
            for family in bounds
        ),
    )

    def table(keys: dict[str, str]) -> tables.Table:
        sigma, model = sigmas[keys["sigma"]], keys["model"]
        rows = []
        for label, where in slices_of(evaluation).items():
            cells = (
                certificate_figure(evaluation, SMOOTHED, sigma, model, 0.0, where),
                certificate_figure(evaluation, CERTIFIED, sigma, model, 0.0, where, "abstention_rate"),
                *(
                    certificate_figure(evaluation, family, sigma, model, radius, where)
                    for radius in radii
                    for family in bounds
                ),
            )
            rows.append(tables.Row(tables.Heading(where, label), cells))
        caption = f"Accuracy of the smoothed classifier by L2 radius, model {model}, σ {keys['sigma']}; more is better"
        return tables.Table(keys, caption, columns, tuple(rows))

    selectors = (
        tables.selector("model", "Model", evaluation.models, first=evaluation.candidate),
        tables.selector("sigma", "Noise σ", sigmas),
    )
    return tables.table_set("certificate-table", "Images", "bars", selectors, table)


def certificate_charts(evaluation: Evaluation) -> Iterator[LineChart]:
    """Yield for each sigma two lines of each model over the radius: certified accuracy, and that under attack."""
    settings, radii = settings_of(evaluation), {0.0: "0", **radii_of(evaluation)}
    for sigma in settings.sigmas:
        lines = []
        for model in evaluation.models:
            for family, label in ((CERTIFIED, model), (SMOOTHED, f"{model}, attacked")):
                if family == SMOOTHED and not settings.attacks:
                    continue
                found = (certificate_figure(evaluation, family, sigma, model, radius, OVERALL) for radius in radii)
                lines.append(series(label, zip(radii, found, strict=True)))
        title = f"Certified accuracy, σ {sigma:g}"
        yield line_chart(title, "Accuracy", "L2 radius", lines, list(radii.items()))


def radius_rows(evaluation: Evaluation, sigma: float) -> list[tuple[str, list[str]]]:
    """Return mean and median certified radius of each class, and of all images, for each model: (class, cells)."""
    return [
        (
            label,
            [
                _radius_cell(evaluation, certificate_figure(evaluation, CERTIFIED, sigma, model, 0.0, where, metric))
                for model in evaluation.about.models
                for metric in _RADII
            ],
        )
        for label, where in slices_of(evaluation).items()
    ]


def _radius_cell(evaluation: Evaluation, figure: Figure | None) -> str:
    if figure is None:
        return "–"
    interval = f" [{wording.interval(figure)}]" if figure.has_interval else ""
    few = f"; n < {evaluation.about.min_slice_size}: too few to judge" if figure.small else ""
    return f"{wording.number(figure.value)}{interval}, n {wording.count(figure.n)}{few}"


def _values(evaluation: Evaluation, lineage: Lineage) -> Mapping[str, Any]:
    del lineage
    settings = settings_of(evaluation)
    if not settings.sigmas:
        return {"certificate_table": None, "certificate_charts": (), "certified_radii": (), "certificates": settings}
    return {
        "certificate_table": certificate_tables(evaluation),
        "certificate_charts": list(certificate_charts(evaluation)),
        "certified_radii": [(f"{sigma:g}", radius_rows(evaluation, sigma)) for sigma in settings.sigmas],
        "certificates": settings,
    }


PANEL = ReportPanel("Certificates", "certificates.html", _values)
