"""Threat models beyond a norm on the page and on the card: by class, apart from the norm."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dermrobust.attacks.transforms.threat import TransformThreat
from dermrobust.components.evaluation.names import canonical_epsilon
from dermrobust.components.evaluation.reading import Evaluation
from dermrobust.components.evaluation.rows import Figure, Place
from dermrobust.pipeline.report import wording
from dermrobust.pipeline.report.card import render_card
from dermrobust.pipeline.report.headline import headline
from dermrobust.pipeline.report.html import render_page
from dermrobust.pipeline.report.lineage import Lineage
from dermrobust.pipeline.report.panels.transforms import gain, threat_charts, threat_tables
from tests.pipeline.report.evaluations import CLASSES, MODELS

FOUND = {"adaptive": 0.3, "random": 0.5, "grid": 0.45, "worst_case": 0.25}
COLOUR, PATCH = TransformThreat("colour", 1.0), TransformThreat("patch", 0.05)


@pytest.fixture
def beyond(evaluation: Evaluation) -> Evaluation:
    """The evaluation with colour in two strengths and a patch; 1 is an evaluated budget in 1/255 as well."""
    figures = dict(evaluation.figures)
    for model in MODELS:
        for threat in (TransformThreat("colour", 0.5), COLOUR, PATCH):
            for name, value in FOUND.items():
                for where, shift in {"overall": 0.0, **{f"dx={each}": -0.1 for each in CLASSES}}.items():
                    condition = f"{threat.family}/{name}"
                    place = Place(model, condition, canonical_epsilon(threat.strength), where, "accuracy")
                    figures[place] = Figure(value + shift, 100, value + shift - 0.05, value + shift + 0.05)
    searches = {name: {"search": name} for name in ("adaptive", "random", "grid")}
    threats = tuple(map(str, (PATCH, COLOUR, TransformThreat("colour", 0.5))))
    about = evaluation.about.model_copy(update={"threats": threats, "searches": searches})
    assert evaluation.blessing is not None
    blessing = evaluation.blessing.model_copy(update={"blessed": True, "uncovered_threats": ("colour:1",)})
    return replace(evaluation, figures=figures, about=about, blessing=blessing)


def test_conditions_of_the_norm_are_those_of_an_evaluation_without_threats(
    beyond: Evaluation, evaluation: Evaluation
) -> None:
    assert beyond.conditions == evaluation.conditions
    assert beyond.attacks == evaluation.attacks
    assert beyond.figure("trades", "worst_case", 1.0, "accuracy") == evaluation.figure(
        "trades", "worst_case", 1.0, "accuracy"
    )
    assert [str(threat) for threat in beyond.threats] == ["patch:0.05", "colour:0.5", "colour:1"]


def test_the_table_has_every_search_by_class_and_the_gain_over_the_better_control(beyond: Evaluation) -> None:
    shown = threat_tables(beyond)
    (table,) = (each for each in shown.tables if each.keys == {"model": "trades", "threat": "colour:1"})
    assert [heading.key for heading in table.columns] == ["none", *FOUND, "gain"]
    rows = {row.heading.key: [cell.value if cell else None for cell in row.cells[1:]] for row in table.rows}
    assert set(rows) == {"overall", *(f"dx={name}" for name in CLASSES)}
    assert rows["dx=mel"] == pytest.approx([0.2, 0.4, 0.35, 0.15, 0.15])
    found = gain(beyond, PATCH, "trades")
    assert found is not None
    assert found.value == pytest.approx(0.15)


def test_a_chart_of_each_family_starts_at_clean_images(beyond: Evaluation) -> None:
    patch, colour = threat_charts(beyond)
    assert [text for _, text in colour.x_ticks] == ["0", "0.5", "1"]
    assert [text for _, text in patch.x_ticks] == ["0", "0.05"]
    assert [line.name for line in colour.lines] == [*MODELS, "constant"]
    assert all(len(line.marks) == 3 for line in colour.lines[: len(MODELS)])


def test_page_card_and_verdict_tell_of_them(beyond: Evaluation, evaluation: Evaluation, lineage: Lineage) -> None:
    page = render_page(beyond, lineage)
    section = page[page.index('id="transforms"') :]
    assert "Accuracy under colour:1, model trades" in section
    assert "Worst-case accuracy under patch" in section
    assert "Not in this evaluation: threat models beyond a norm" in render_page(evaluation, lineage)
    card = render_card(beyond, lineage)
    assert "| patch:0.05 | mel | " in card
    assert "0.150 (0.100 to 0.200; n 100) |" in card
    assert "Threat models beyond a norm" not in render_card(evaluation, lineage)
    assert "No threshold covers colour:1, where it classifies 25% of the images correctly." in headline(beyond).sentence
    assert wording.under("colour/worst_case", 1.0, "linf") == "Colour, worst case, strength 1"


def test_figures_have_names_of_their_own_in_mlflow() -> None:
    pytest.importorskip("mlflow")
    from dermrobust.pipeline.tracking.mlflow import metric_key

    places = [Place("trades", name, 1.0, "dx=mel", "accuracy") for name in ("worst_case", "colour/worst_case")]
    assert [metric_key(place, "linf") for place in places] == [
        "worst_case/linf:1/dx:mel/accuracy",
        "worst_case/colour:1/dx:mel/accuracy",
    ]
