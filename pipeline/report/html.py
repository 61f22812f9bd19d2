"""Report as one HTML file that needs no network."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from dermrobust.components.evaluation.reading import Evaluation
from dermrobust.pipeline.report import charts, colors, wording
from dermrobust.pipeline.report.headline import headline
from dermrobust.pipeline.report.lineage import Lineage
from dermrobust.pipeline.report.panel import ReportPanel
from dermrobust.pipeline.report.registry import PANELS

TEMPLATES = Path(__file__).parent / "templates"


def render_page(evaluation: Evaluation, lineage: Lineage) -> str:
    """Return the report of an evaluation as an HTML page: every registered panel, in the order of the registry."""
    about = evaluation.about
    shared = {
        "evaluation": evaluation,
        "about": about,
        "lineage": lineage,
        "headline": headline(evaluation),
        "norm": about.norm,
        "smallest": about.min_slice_size,
    }
    panels = []
    for name in PANELS.names:
        panel: ReportPanel = PANELS.resolve(name)
        content = _template(panel.template).render(**shared, **panel.values(evaluation, lineage))
        title = panel.title.format(subject=about.task.subject.capitalize())
        # The template has escaped its values; escaping the section again would show its tags.
        panels.append({"id": name, "title": title, "content": Markup(content)})
    return render("report.html", panels=panels, **shared)


def _template(source: str) -> Template:
    """Return the template of a panel: a file, or Jinja source."""
    if "{" in source or "<" in source:
        return _environment().from_string(source)
    return _environment().get_template(f"panels/{source}")


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
    )
    return environment


def _asset(name: str) -> Markup:
    """Return a file of ours as it is: style and script hold no value of an evaluation."""
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))
