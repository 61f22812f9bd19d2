"""Certificates on the page, on the card, in the terminal and from Python: bounds from both sides, by class."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from dermrobust.attacks.errors import UserError
from dermrobust.components.evaluation import files
from dermrobust.components.evaluation.certificate_params import CertificateSettings
from dermrobust.components.evaluation.certificates import certified_accuracy
from dermrobust.components.evaluation.reading import Evaluation
from dermrobust.components.evaluation.rows import Figure, Place
from dermrobust.pipeline.api.evaluation import Evaluation as Public
from dermrobust.pipeline.certifying import summaries
from dermrobust.pipeline.cli.certificates_table import certificates_table
from dermrobust.pipeline.report import wording
from dermrobust.pipeline.report.card import render_card
from dermrobust.pipeline.report.html import render_page
from dermrobust.pipeline.report.lineage import Lineage
from dermrobust.pipeline.report.panels.certificates import certificate_charts, certificate_tables
from dermrobust.pipeline.reporting import EvaluatedRun
from tests.pipeline.report.evaluations import CLASSES, MODELS

SETTINGS = CertificateSettings.model_validate({"sigmas": [0.25, 0.5], "radii": ["l2:0.25", "l2:1"]})
RADII = [0.0, 63.75, 255.0]


def certificates() -> pa.Table:
    """Five images with their radii in 1/255: one has no certificate, one a wrong class, one falls at 255."""
    columns = {
        **{"model": ["trades"] * 5, "sigma": [0.25] * 5, "label": [4, 4, 4, 5, 5], "predicted": [4, None, 4, 5, 4]},
        **{"certified_class": [4, 4, 4, 5, 4], "abstained": [False, True, False, False, False]},
        **{"radius": [100.0, 0.0, 300.0, 63.75, 90.0], "attacked": [255.0, 0.0, None, None, 0.0]},
    }
    return pa.table(columns)


@pytest.fixture
def certified(evaluation: Evaluation) -> Evaluation:
    figures = dict(evaluation.figures)
    for model in (*MODELS, "constant"):
        for sigma in SETTINGS.sigmas:
            for where, shift in {"overall": 0.0, **{f"dx={each}": -0.1 for each in CLASSES}}.items():
                for index, radius in enumerate(RADII):
                    for name, value in (("certified", 0.6), ("smoothed", 0.8)):
                        found = value + shift - 0.2 * index
                        place = Place(model, f"{name}/{sigma:g}", radius, where, "accuracy")
                        figures[place] = Figure(found, 100, found - 0.05, found + 0.05)
                for metric, value in (("abstention_rate", 0.15), ("mean_certified_radius", 0.345)):
                    figures[Place(model, f"certified/{sigma:g}", 0.0, where, metric)] = Figure(value, 100, 0.1, 0.4)
    about = evaluation.about.model_copy(update={"certificates": SETTINGS.model_dump(mode="json")})
    return replace(evaluation, figures=figures, about=about)


def test_certified_accuracy_at_any_radius_and_what_attacks_leave() -> None:
    table, radii = certificates(), (0, 63, 64, 99, 250, 301)
    found = [certified_accuracy(table, "trades", 0.25, radius).value for radius in radii]
    assert found == pytest.approx([0.6, 0.6, 0.4, 0.4, 0.2, 0.0])
    assert certified_accuracy(certificates(), "trades", 0.25, 99, label=4).value == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match=r"no certificates of 'trades' with sigma 0\.3"):
        certified_accuracy(certificates(), "trades", 0.3, 0)
    (one,) = summaries(table, SETTINGS.model_copy(update={"sigmas": (0.25,)}))
    assert one.accuracy == pytest.approx(0.6)
    assert one.abstained == pytest.approx(0.2)
    assert one.mean_radius == pytest.approx((100 + 300 + 63.75) / 5 / 255)
    assert [bound for each in one.bounds for bound in (each.lower, each.upper)] == pytest.approx(
        [0.6, 0.6, 0.4, 0.6, 0.2, 0.4]
    )
    console = Console(file=io.StringIO(), width=80)
    console.print(certificates_table([one]))
    assert isinstance(console.file, io.StringIO)
    rows = [line.split() for line in console.file.getvalue().splitlines() if "trades" in line]
    assert rows[0] == ["trades", "0.25", "0", "0.600", "0.600", "0.200", "0.364", "5"]
    assert rows[1] == ["trades", "0.25", "0.25", "0.400", "0.600"]


def test_page_and_card_show_both_bounds_by_class(
    certified: Evaluation, evaluation: Evaluation, lineage: Lineage
) -> None:
    shown = certificate_tables(certified)
    (table,) = (each for each in shown.tables if each.keys == {"model": "trades", "sigma": "0.25"})
    melanoma = next(row for row in table.rows if row.heading.key == "dx=mel")
    values = [cell.value for cell in melanoma.cells if cell]
    assert values == pytest.approx([0.7, 0.15, 0.3, 0.5, 0.1, 0.3])
    first, _ = certificate_charts(certified)
    assert [text for _, text in first.x_ticks] == ["0", "L2 0.25", "L2 1"]
    assert [line.name for line in first.lines][:2] == [MODELS[0], f"{MODELS[0]}, attacked"]
    page = render_page(certified, lineage)
    section = page.split('<section id="certificates"')[1].split("</section>")[0]
    assert "model trades, σ 0.25" in section and "0.345 [0.100 to 0.400], n 100" in section
    assert "Not in this evaluation: certificates" in render_page(evaluation, lineage)
    card = render_card(certified, lineage)
    rows = [line for line in card.splitlines() if line.startswith("| 0.25 | mel |")]
    assert len(rows) == 1 and rows[0].count("|") == 8 and "0.300 (0.250 to 0.350; n 100)" in rows[0]
    # The rows follow the heading, as a table of Markdown needs it.
    lines = card.splitlines()
    heading, rule = lines[lines.index(rows[0]) - 7 : lines.index(rows[0]) - 5]
    assert heading.startswith("| σ | images |") and rule.startswith("|---|")
    assert "Randomized smoothing" not in render_card(evaluation, lineage)
    # Conditions of the norm are untouched.
    assert (certified.conditions, certified.attacks) == (evaluation.conditions, evaluation.attacks)
    assert wording.under("certified/0.25", 127.5, "linf") == "Certified, σ 0.25, L2 0.5"


def test_figures_have_names_of_their_own_in_mlflow() -> None:
    pytest.importorskip("mlflow")
    from dermrobust.pipeline.tracking.mlflow import metric_key

    place = Place("trades", "certified/0.25", 127.5, "overall", "accuracy")
    assert metric_key(place, "linf") == "certified:0.25/l2:127.5/overall/accuracy"


def test_an_evaluation_is_asked_from_python(certified: Evaluation, lineage: Lineage, tmp_path: Path) -> None:
    pq.write_table(certificates(), tmp_path / files.CERTIFICATES)
    public = Public(EvaluatedRun("any", replace(certified, uri=str(tmp_path)), lineage))
    assert public.certified_accuracy("trades", "l2:0.39", sigma=0.25).value == pytest.approx(0.4)
    assert public.certified_accuracy("trades", 0.39, sigma=0.25, class_name="mel").n == 3
    for radius, message in (("linf:4/255", "is no length"), (-1, "must be 0 or more")):
        with pytest.raises(UserError, match=message):
            public.certified_accuracy("trades", radius, sigma=0.25)
