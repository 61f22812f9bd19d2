"""The model card: the sections of Mitchell et al., filled from the artifacts, and what is not known is said."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from dermrobust.components.evaluation.reading import Evaluation, read_evaluation
from dermrobust.pipeline.report.card import render_card
from dermrobust.pipeline.report.html import render_page
from dermrobust.pipeline.report.lineage import Lineage
from tests.pipeline.report.evaluations import MODELS, write_evaluation

SECTIONS = [
    "Model details",
    "Intended use",
    "Factors",
    "Metrics",
    "Evaluation data",
    "Training data",
    "Quantitative analyses",
    "Ethical considerations",
    "Caveats and recommendations",
]


def test_it_has_the_sections_of_the_paper(evaluation: Evaluation, lineage: Lineage) -> None:
    card = render_card(evaluation, lineage)
    assert re.findall(r"^## (.*)$", card, re.MULTILINE) == SECTIONS
    assert card.startswith("# Model card: trades")
    assert "### Unitary results" in card and "### Intersectional results" in card


def test_figures_come_with_interval_and_n(evaluation: Evaluation, lineage: Lineage) -> None:
    card = render_card(evaluation, lineage)
    figure = evaluation.figure("trades", "worst_case", 4.0, "accuracy")
    assert figure is not None
    text = f"{figure.value:.3f} ({figure.lower:.3f} to {figure.upper:.3f}; n 1,930)"
    constant = "0.669 (0.648 to 0.690; n 1,930)"
    assert f"| Accuracy | Worst case, ε 4/255 | {text} | {constant} |" in card
    assert "| metric | images | value | always nv |" in card
    assert "is worse than always answering nv." in card
    assert "n 22; too few to conclude from" in card


def test_tables_are_whole(evaluation: Evaluation, lineage: Lineage) -> None:
    """Every row of a table has as many cells as its heading."""
    blocks = re.findall(r"(?:^\|.*\|\n)+", render_card(evaluation, lineage), re.MULTILINE)
    assert len(blocks) >= 3
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1, block


def test_checks_in_doubt_are_caveats(evaluation: Evaluation, lineage: Lineage) -> None:
    caveats = render_card(evaluation, lineage).split("## Caveats")[1]
    assert "of fgsm: fail" in caveats and "Stored images" not in caveats


def test_what_is_not_known_is_said(tmp_path: Path, lineage: Lineage) -> None:
    write_evaluation(tmp_path)
    for name in ("checks.json", "corruptions.parquet"):
        (tmp_path / name).unlink()
    bare = replace(lineage, data=None, models=(), artifacts=(), attacks={}, seed=None)
    card = render_card(read_evaluation(str(tmp_path)), bare)
    for text in (
        "how it was trained is not known",
        "where they come from is not known",
        "parameters not known",
        "Seed not known",
        "No checks of the evaluation were made",
        "were not measured",
    ):
        assert text in card


def test_names_cannot_break_a_table_or_become_markup(tmp_path: Path, lineage: Lineage) -> None:
    write_evaluation(tmp_path, (*MODELS[:2], "a|b<script>alert(1)</script>"))
    card = render_card(read_evaluation(str(tmp_path)), lineage)
    assert "<script" not in card
    assert "a\\|b&lt;script" in card


def test_drawn_images_are_told_apart_from_photographs(evaluation: Evaluation, lineage: Lineage) -> None:
    assert lineage.data is not None
    drawn = replace(lineage, data=replace(lineage.data, name="synthetic", drawn=True))

    for text in (render_card(evaluation, drawn), render_page(evaluation, drawn)):
        assert "they show nobody" in text
    for text in (render_card(evaluation, lineage), render_page(evaluation, lineage)):
        assert "they show nobody" not in text
    assert "The images are of people" in render_card(evaluation, lineage)
    assert "The images are of people" not in render_card(evaluation, drawn)
