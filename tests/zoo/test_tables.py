"""Published tables: they come from the cards, and the page of this project is up to date."""

import pytest

from benchmarks.zoo_table import PAGE
from dermrobust.attacks.errors import UserError
from dermrobust.components.evaluation.checks import Status
from dermrobust.pipeline.zoo.catalog import read_cards, zoo_folder
from dermrobust.pipeline.zoo.tables import BEGIN, END, with_tables, zoo_tables
from tests.zoo.cards import card, check


def rows(text: str, start: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(start)]


def test_the_page_has_the_tables_of_the_cards() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert with_tables(page, read_cards(zoo_folder())) == page, "run: python -m benchmarks.zoo_table"


def test_every_model_has_its_figures_with_intervals() -> None:
    text = zoo_tables([card("plain"), card("robust")])

    figure = card().figure("worst_case", 2.0, "balanced_accuracy")
    assert figure is not None
    assert "| model | clean | worst case, ε 1/255 | worst case, ε 2/255 |" in text
    assert f"{figure.value:.3f} [{figure.lower:.2f}, {figure.upper:.2f}]" in text
    # One row about it, one for each of four metrics, and its recall clean and at four budgets.
    assert len(rows(text, "| `ham10000/robust` |")) == len(rows(text, "| `ham10000/plain` |")) == 1 + 4 + 5
    assert "mel (n = 218)" in text


def test_the_constant_classifier_stands_in_every_table_of_figures() -> None:
    assert len(rows(zoo_tables([card()]), "| constant (always nv) |")) == 4 + 5


def test_a_failed_check_is_told() -> None:
    text = zoo_tables([card(checks=[check("steps", Status.FAIL), check("budget", Status.PASS)])])

    assert "1 of 2 fail" in text


def test_models_of_another_split_stand_in_tables_of_their_own() -> None:
    other = card("other", split=card().split.model_copy(update={"sha256": "7a" * 32}))

    text = zoo_tables([card(), other])

    assert "digest `5e5e5e5e5e5e`" in text
    assert "digest `7a7a7a7a7a7a`" in text
    assert len(rows(text, "| model | trained against |")) == 2


def test_only_what_stands_between_the_markers_is_replaced() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"

    assert with_tables(page, []) == f"before\n{BEGIN}\nThe zoo has no models yet.\n{END}\nafter\n"
    assert with_tables(with_tables(page, [card()]), []) == with_tables(page, [])
    for broken in ("", f"{END} {BEGIN}", f"{BEGIN} {BEGIN} {END}"):
        with pytest.raises(UserError, match="needs the lines"):
            with_tables(broken, [])
