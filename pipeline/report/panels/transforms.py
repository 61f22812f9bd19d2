"""Threat models beyond a norm: colour and light, geometry, and stickers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dermrobust.attacks.kinds import Kind, named
from dermrobust.attacks.transforms.selection import read_search
from dermrobust.attacks.transforms.threat import TransformThreat
from dermrobust.components.evaluation.names import CLEAN, WORST_CASE
from dermrobust.components.evaluation.reading import Evaluation
from dermrobust.components.evaluation.rows import Figure, Flip
from dermrobust.components.evaluation.schemas import OVERALL
from dermrobust.pipeline.report import tables, wording
from dermrobust.pipeline.report.charts import LineChart, line_chart, series
from dermrobust.pipeline.report.images import Triptych, triptych
from dermrobust.pipeline.report.lineage import Lineage
from dermrobust.pipeline.report.panel import ReportPanel

GAIN = "gain"
_SHOWN = 6
"""Number of flips on the page; `transformed_gallery.parquet` has more."""


def searches(evaluation: Evaluation) -> tuple[str, ...]:
    """Return the searches in their order, and the worst case last."""
    return (*evaluation.about.searches, WORST_CASE)


def gain(evaluation: Evaluation, threat: TransformThreat, model: str, where: str = OVERALL) -> Figure | None:
    """Return by how much the adaptive search lowers accuracy below the best control, without an interval."""
    known = {name: read_search(value) for name, value in evaluation.about.searches.items()}

    def lowest(kind: Kind) -> Figure | None:
        found = (evaluation.under(threat, name, model, "accuracy", where) for name in named(known, kind))
        return min((figure for figure in found if figure), key=lambda figure: figure.value, default=None)

    adaptive, control = lowest(Kind.ITERATIVE), lowest(Kind.NOISE)
    if adaptive is None or control is None:
        return None
    return Figure(control.value - adaptive.value, adaptive.n, small=adaptive.small)


def threat_tables(evaluation: Evaluation) -> tables.TableSet:
    """Return for each model and threat the accuracy by class: clean, under each search, and in the worst case."""
    task = evaluation.about.task
    by_text = {str(threat): threat for threat in evaluation.threats}
    columns = (
        tables.Heading(CLEAN, wording.condition(CLEAN)),
        *(tables.Heading(name, wording.condition(name)) for name in searches(evaluation)),
        tables.Heading(GAIN, "Adaptive beyond controls", "accuracy under the best control minus adaptive"),
    )
    slices = {"all images": OVERALL} | {name: f"{task.class_key}={name}" for name in task.class_names}

    def table(keys: dict[str, str]) -> tables.Table:
        threat, model = by_text[keys["threat"]], keys["model"]
        rows = []
        for label, where in slices.items():
            found = (evaluation.under(threat, name, model, "accuracy", where) for name in searches(evaluation))
            clean = evaluation.figure(model, CLEAN, 0.0, "accuracy", where)
            cells = (clean, *found, gain(evaluation, threat, model, where))
            rows.append(tables.Row(tables.Heading(where, label), cells))
        caption = f"Accuracy under {threat}, model {model}; more is better"
        return tables.Table(keys, caption, columns, tuple(rows))

    selectors = (
        tables.selector("model", "Model", evaluation.about.models, first=evaluation.candidate),
        tables.selector("threat", "Threat", by_text),
    )
    return tables.table_set("threat-table", "Images", "bars", selectors, table)


def threat_charts(evaluation: Evaluation) -> Iterator[LineChart]:
    """Yield for each family a line of each model: worst-case accuracy over the strength, 0 for clean images."""
    for family in dict.fromkeys(threat.family for threat in evaluation.threats):
        of_family = [threat for threat in evaluation.threats if threat.family == family]
        ticks = [(0.0, "0"), *((threat.strength, f"{threat.strength:g}") for threat in of_family)]
        lines = []
        for model in evaluation.models:
            worst = (evaluation.under(threat, WORST_CASE, model, "accuracy") for threat in of_family)
            figures = (evaluation.figure(model, CLEAN, 0.0, "accuracy"), *worst)
            lines.append(series(model, zip((x for x, _ in ticks), figures, strict=True)))
        title = f"Worst-case accuracy under {family}"
        axis = "share of the image" if family == "patch" else "strength"
        yield line_chart(title, "Accuracy", axis, lines, ticks)


def transformed_flips(evaluation: Evaluation) -> list[tuple[Flip, Triptych]]:
    """Return the most dangerous flips by transformations, of the candidate first."""
    flips = sorted(
        evaluation.transformed_gallery or (), key=lambda flip: (flip.model != evaluation.candidate, -flip.danger)
    )
    drawn = ((flip, triptych(flip.clean, flip.adversarial)) for flip in flips[:_SHOWN])
    return [(flip, images) for flip, images in drawn if images is not None]


def _values(evaluation: Evaluation, lineage: Lineage) -> Mapping[str, Any]:
    del lineage
    if not evaluation.threats:
        return {"threat_table": None, "threat_charts": (), "transformed_flips": ()}
    return {
        "threat_table": threat_tables(evaluation),
        "threat_charts": list(threat_charts(evaluation)),
        "transformed_flips": transformed_flips(evaluation),
    }


PANEL = ReportPanel("Threats beyond a norm", "transforms.html", _values)
