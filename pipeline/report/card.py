"""Model card: intended use, data, figures and limitations of a model.

Its sections are those of Mitchell et al. 2019 (arXiv 1810.03993).
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from dermrobust.components.evaluation.conditions import CERTIFIED, SMOOTHED
from dermrobust.components.evaluation.names import CLEAN, CONSTANT, WORST_CASE
from dermrobust.components.evaluation.reading import Evaluation
from dermrobust.components.evaluation.rows import Figure
from dermrobust.components.evaluation.schemas import OVERALL
from dermrobust.pipeline.report import wording
from dermrobust.pipeline.report.headline import headline
from dermrobust.pipeline.report.lineage import Lineage, ModelRecord
from dermrobust.pipeline.report.panels import certificates, groups, referral, transforms
from dermrobust.pipeline.report.panels.radii import median_rows, minimizing

_TEMPLATES = Path(__file__).parent / "templates"
_Line = tuple[str, ...]


def render_card(evaluation: Evaluation, lineage: Lineage) -> str:
    """Return the card of the candidate, or without a gate of the first model, as Markdown."""
    verdict = headline(evaluation)
    return (
        markdown_templates()
        .get_template("card.md")
        .render(
            evaluation=evaluation,
            about=evaluation.about,
            lineage=lineage,
            headline=verdict,
            model=next((record for record in lineage.models if record.name == verdict.model), None),
            overall=_lines(evaluation, verdict.model, "card"),
            clinical=_lines(evaluation, verdict.model, "clinical"),
            unitary=_groups(evaluation, verdict.model, crossed=False),
            intersectional=_groups(evaluation, verdict.model, crossed=True),
            classes=_by_class(evaluation, verdict.model),
            beyond=_beyond_a_norm(evaluation, verdict.model),
            searches=transforms.searches(evaluation),
            radii=_radii(evaluation, verdict.model),
            certified=_certified(evaluation, verdict.model),
            certified_at=list(certificates.radii_of(evaluation).values()),
            certificates=certificates.settings_of(evaluation),
            referred=_referred(evaluation, verdict.model),
            referral_metrics=list(referral.METRICS.values()),
            crafted=_sees_adversarial(lineage, verdict.model),
            doubts=[check for check in evaluation.checks or () if check.status != "pass"],
            words=wording,
        )
    )


@functools.cache
def markdown_templates() -> Environment:
    """Return the Jinja environment of cards in Markdown; it escapes what would break a table or start markup."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_in_markdown,
    )
    environment.filters.update(number=wording.number, count=wording.count, flat=wording.flat, joined=", ".join)
    return environment


def _in_markdown(value: Any) -> Any:
    """Return text without what would break a table or start markup; HTML is escaped by Jinja."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    text = str(escape(" ".join(value.split()))).replace("&#39;", "'").replace("&#34;", '"').replace("&gt;", ">")
    for character in "\\`|*[]":
        text = text.replace(character, f"\\{character}")
    return Markup(text)


def figure(found: Figure | None) -> str:
    """Return a figure with its interval and n: "0.712 (0.690 to 0.733; n 1,930)"."""
    if found is None:
        return "not measured"
    interval = f"{wording.interval(found)}; " if found.has_interval else ""
    small = "; too few to conclude from" if found.small else ""
    return f"{wording.number(found.value)} ({interval}n {wording.count(found.n)}{small})"


def _lines(evaluation: Evaluation, model: str, place: str) -> list[_Line]:
    """Return the metrics of a place (see `Metric.places`) on all images, clean and in the worst case."""
    return [
        (
            wording.metric(metric, evaluation.about.task).label,
            heading.label,
            figure(found),
            *_constant(evaluation, metric, OVERALL),
        )
        for metric in wording.metrics_for(place, evaluation.metrics)
        for heading, condition in groups.columns(evaluation)
        if (found := evaluation.figure(model=model, metric=metric, **condition))
    ]


def _by_class(evaluation: Evaluation, model: str) -> list[_Line]:
    task = evaluation.about.task
    return [_slice_line(evaluation, model, f"{task.class_key}={name}", name) for name in task.class_names]


def _beyond_a_norm(evaluation: Evaluation, model: str) -> list[_Line]:
    """Return for each threat model beyond a norm the accuracy on all images and on those of each class."""
    task = evaluation.about.task
    slices = {"all": OVERALL} | {name: f"{task.class_key}={name}" for name in task.class_names}
    return [
        (
            str(threat),
            label,
            figure(evaluation.figure(model, CLEAN, 0.0, "accuracy", where)),
            *(
                figure(evaluation.under(threat, name, model, "accuracy", where))
                for name in transforms.searches(evaluation)
            ),
        )
        for threat in evaluation.threats
        for label, where in slices.items()
    ]


def _radii(evaluation: Evaluation, model: str) -> list[_Line]:
    """Return the median robust radii of all images and of each class, under each attack that found some."""
    place = evaluation.about.models.index(model)
    return [
        (name, attack, cells[place])
        for attack in minimizing(evaluation)
        for name, cells in median_rows(evaluation, attack)
    ]


def _certified(evaluation: Evaluation, model: str) -> list[_Line]:
    """Return what is certified of all images and of each class, with each sigma."""

    def cell(family: str, sigma: float, epsilon: float, where: str, metric: str = "accuracy") -> str:
        return figure(certificates.certificate_figure(evaluation, family, sigma, model, epsilon, where, metric))

    return [
        (
            f"{sigma:g}",
            label,
            cell(SMOOTHED, sigma, 0.0, where),
            cell(CERTIFIED, sigma, 0.0, where, "abstention_rate"),
            cell(CERTIFIED, sigma, 0.0, where, "mean_certified_radius"),
            *(cell(CERTIFIED, sigma, radius, where) for radius in certificates.radii_of(evaluation)),
        )
        for sigma in certificates.settings_of(evaluation).sigmas
        for label, where in certificates.slices_of(evaluation).items()
    ]


def _referred(evaluation: Evaluation, model: str) -> list[_Line]:
    """Return what a referral rate leaves of all images and of each class, clean and in the worst case."""
    conditions = [each for each in referral.conditions_of(evaluation) if each[0] in (CLEAN, WORST_CASE)]
    return [
        (
            text,
            label,
            wording.under(attack, epsilon, evaluation.about.norm),
            *(
                figure(referral.referral_figure(evaluation, rate, model, attack, epsilon, metric, where))
                for metric in referral.METRICS
            ),
        )
        for text, rate in referral.rates_of(evaluation).items()
        for label, where in certificates.slices_of(evaluation).items()
        for attack, epsilon in conditions
    ]


def _groups(evaluation: Evaluation, model: str, crossed: bool) -> list[_Line]:
    names = [name for name in groups.patient_slices(evaluation) if ("," in name) == crossed]
    return [_slice_line(evaluation, model, name, name.replace("=", ": ")) for name in names]


def _slice_line(evaluation: Evaluation, model: str, where: str, label: str) -> _Line:
    budgets = evaluation.about.epsilons[:1]
    clean = figure(evaluation.figure(model, CLEAN, 0.0, "accuracy", where))
    worst = [figure(evaluation.figure(model, WORST_CASE, epsilon, "accuracy", where)) for epsilon in budgets]
    return (label, clean, *worst, *_constant(evaluation, "accuracy", where))


def _constant(evaluation: Evaluation, metric: str, where: str) -> list[str]:
    """Return the cell of the constant classifier, whose figures are the same under every attack."""
    if evaluation.about.constant_class is None:
        return []
    found = evaluation.figure(CONSTANT, CLEAN, 0.0, metric, where)
    return ["–" if found is None else figure(found)]


def _sees_adversarial(lineage: Lineage, model: str) -> str:
    """Return how a model was hardened, as far as its artifacts tell."""
    record = next((record for record in lineage.models if record.name == model), None)
    if record is None:
        return "Not known: no manifest of this model was found."
    artifact = next((a for a in lineage.artifacts if a.fingerprint == record.fingerprint and a.type == "model"), None)
    crafted = artifact.inputs.get("adversarial", ()) if artifact else ()
    names = [a.producer for a in lineage.artifacts if a.fingerprint in crafted and a.type == "adversarial_examples"]
    if names:
        return f"Beside clean images it saw stored adversarial examples: {', '.join(names)}."
    return f"Objective: {_objective(record)}; no stored adversarial examples.{_from_baseline(record)}"


def _from_baseline(record: ModelRecord) -> str:
    """Return sentences on what training took from the trained baseline; empty: nothing."""
    started = " Training started from the weights of the baseline." * (
        record.parameters.get("initial_weights") == "baseline"
    )
    share = record.parameters.get("distillation")
    taught = f" Share of the baseline's predictions in its targets: {share}." if share else ""
    return started + taught


def _objective(record: ModelRecord) -> str:
    objective = record.parameters.get("objective", "not known")
    return wording.flat(objective) if isinstance(objective, dict) else str(objective)
