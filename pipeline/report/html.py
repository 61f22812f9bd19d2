"""The page: one HTML file that needs no network."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from dermrobust.components.evaluation.checks import Check
from dermrobust.components.evaluation.reading import Evaluation
from dermrobust.pipeline.report import boards, charts, colors, wording
from dermrobust.pipeline.report.clinic import clinic
from dermrobust.pipeline.report.corruptions import corruption_board, corruption_charts, severity_choice
from dermrobust.pipeline.report.fairness import fairness, gaps
from dermrobust.pipeline.report.gallery import gallery
from dermrobust.pipeline.report.headline import headline
from dermrobust.pipeline.report.heatmap import heatmap
from dermrobust.pipeline.report.lineage import Lineage
from dermrobust.pipeline.report.matrix import matrix
from dermrobust.pipeline.report.robustness import robustness_chart, robustness_choices, robustness_table

TEMPLATES = Path(__file__).parent / "templates"
_ORDER = {"fail": 0, "warn": 1, "pass": 2}


def render_page(evaluation: Evaluation, lineage: Lineage) -> str:
    """Return the report of an evaluation as an HTML page."""
    return render(
        "report.html",
        evaluation=evaluation,
        about=evaluation.about,
        lineage=lineage,
        headline=headline(evaluation),
        matrix=matrix(evaluation),
        heatmap=heatmap(evaluation),
        curve_choices=robustness_choices(evaluation),
        curves=_curves(evaluation),
        gallery=gallery(evaluation),
        fairness=fairness(evaluation),
        gaps=gaps(evaluation, evaluation.candidate),
        clinic=clinic(evaluation),
        corruptions=corruption_board(evaluation) if evaluation.corruptions else None,
        corruption_charts=corruption_charts(evaluation),
        severity_choice=severity_choice(evaluation),
        checks=ordered(evaluation.checks),
    )


def ordered(checks: tuple[Check, ...] | None) -> tuple[Check, ...]:
    """Return checks with those that failed first."""
    return tuple(sorted(checks or (), key=lambda check: (_ORDER[check.status], check.name, check.model or "")))


def render(template: str, **values: Any) -> str:
    """Return a template filled in; all values are escaped."""
    return _environment().get_template(template).render(**values)


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=wording.number, signed=wording.signed, count=wording.count, interval=wording.interval, flat=wording.flat
    )
    environment.globals.update(
        asset=_asset,
        heat_styles=lambda: Markup(colors.stylesheet()),
        heat_step=colors.step,
        heat_steps=colors.STEPS,
        line_look=charts.look,
        words=wording,
        key=boards.key,
    )
    return environment


def _asset(name: str) -> Markup:
    """Return a file of ours as it is: style and script hold no value of an evaluation."""
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))


def _curves(evaluation: Evaluation) -> list[Mapping[str, Any]]:
    choices = robustness_choices(evaluation)
    return [
        {
            "keys": keys,
            "chart": robustness_chart(evaluation, keys["metric"], keys["attack"]),
            "table": robustness_table(evaluation, keys["metric"], keys["attack"]),
            "first": all(keys[choice.name] == choice.first for choice in choices),
        }
        for keys in boards.combinations(choices)
    ]
