"""`dermrobust compare`: two runs side by side, and whether they can be compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from selenium.webdriver.common.by import By

from dermrobust.components.evaluation.rows import Figure, Place
from dermrobust.pipeline.cli.main import main
from dermrobust.pipeline.report.comparing import Pair
from tests.pipeline.report.browser import chromium, set_width
from tests.pipeline.report.evaluations import ATTACKS, DrawnRoot

FIRST, SECOND = "20261122T100000-aaaaaa", "20261122T110000-bbbbbb"
PLACE = Place("vanilla", "none", 0.0, "overall", "accuracy")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "output"


def compare(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["compare", *arguments, "--set", f"root={root}"])


def compared(root: Path, first: str = FIRST, second: str = SECOND) -> dict[str, Any]:
    result = compare(root, first, second, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def figure(value: float, half: float | None = 0.01) -> Figure:
    return Figure(value, 100) if half is None else Figure(value, 100, value - half, value + half)


@pytest.mark.parametrize(
    ("first", "second", "overlap", "says"),
    [
        (figure(0.5), figure(0.515), True, "intervals overlap"),
        (figure(0.5), figure(0.52), True, "intervals overlap"),
        (figure(0.5), figure(0.53), False, "intervals apart"),
        (figure(0.53), figure(0.5), False, "intervals apart"),
        (figure(0.5), figure(0.53, None), None, "–"),
        (figure(0.5), None, None, "only in one run"),
    ],
)
def test_intervals_overlap_or_not(first: Figure, second: Figure | None, overlap: bool | None, says: str) -> None:
    pair = Pair(PLACE, first, second)
    assert pair.overlap is overlap
    assert pair.says == says


def test_runs_on_the_same_data_are_comparable(root: Path) -> None:
    drawn = DrawnRoot(root)
    drawn.run(FIRST)
    drawn.run(SECOND, models=("vanilla", "trades"))
    found = compared(root)
    assert found["comparable"] is True and found["differences"] == []
    place = {"model": "vanilla", "attack": "pgd", "epsilon": 4.0, "metric": "accuracy"}
    (row,) = (row for row in found["figures"] if place.items() <= row.items())
    assert row["change"] == 0 and row["intervals_overlap"] is True
    (gone,) = (row for row in found["figures"] if {**place, "model": "fgsm"}.items() <= row.items())
    assert gone["second"] is None and gone["change"] is None


def test_other_data_attacks_and_seeds_are_named(root: Path) -> None:
    drawn = DrawnRoot(root)
    drawn.run(FIRST)
    stronger = {**ATTACKS, "pgd": {**ATTACKS["pgd"], "steps": 100}}
    del stronger["transfer"]
    drawn.run(SECOND, salt="b", attacks=stronger, seed=7)
    found = compared(root)
    assert found["comparable"] is False
    text = " ".join(found["differences"])
    for part in ("images differ", "'pgd' differs", "steps 100", "'transfer' is only in the first", "seeds", "7"):
        assert part in text
    printed = compare(root, FIRST, SECOND)
    assert printed.stdout.count("not comparable:") == len(found["differences"])


def test_the_terminal_shows_both_with_intervals(root: Path) -> None:
    drawn = DrawnRoot(root)
    drawn.run(FIRST)
    drawn.run(SECOND)
    shown = compare(root, FIRST, SECOND).stdout
    for text in ("vanilla", "worst_case 4/255", "0.840 [0.82, 0.86]", "+0.000", "overlap"):
        assert text in " ".join(shown.split())


def test_runs_of_two_roots(root: Path, tmp_path: Path) -> None:
    DrawnRoot(root).run(FIRST)
    other = tmp_path / "other"
    DrawnRoot(other).run(SECOND)
    assert compared(root, FIRST, f"{other}:{SECOND}")["second"] == SECOND
    assert compared(root, f"{root}:{FIRST}", str(other))["second"] == SECOND


@pytest.mark.parametrize(
    ("second", "text"),
    [("nonesuch", "there is no run 'nonesuch'"), ("/no/such/root:x", "no runs in '/no/such/root'")],
)
def test_a_run_that_is_not_there_is_named(root: Path, second: str, text: str) -> None:
    DrawnRoot(root).run(FIRST)
    result = compare(root, FIRST, second)
    assert result.exit_code == 2
    assert text in result.stderr and "Traceback" not in result.output


def test_the_page_shows_the_same_and_filters(root: Path, tmp_path: Path) -> None:
    drawn = DrawnRoot(root)
    drawn.run(FIRST)
    drawn.run(SECOND, seed=7)
    page = tmp_path / "compared.html"
    result = compare(root, FIRST, SECOND, "--output", str(page))
    assert result.exit_code == 0, result.output
    figures = compared(root)["figures"]
    with chromium() as browser:
        browser.get(page.as_uri())
        assert browser.get_log("browser") == []
        assert "seeds of the attacks differ: 0 and 7" in browser.find_element(By.ID, "comparable").text
        shown = browser.execute_script(
            "return [...document.querySelectorAll('#pairs tr')].map(r => [4, 5, 6].map(i => r.cells[i].dataset.value))"
        )
        assert [tuple(map(float, row)) for row in shown] == [(f["first"], f["second"], f["change"]) for f in figures]
        browser.execute_script(
            "const s = document.querySelector('[name=metric]'); s.value = 'macro_auc';"
            "s.dispatchEvent(new Event('change', {bubbles: true}))"
        )
        left = browser.execute_script(
            "return [...document.querySelectorAll('#pairs tr')].filter(r => !r.hidden).length"
        )
        assert left == sum(f["metric"] == "macro_auc" for f in figures)
        width = "return document.querySelector('main').clientWidth / document.querySelector('.layout').clientWidth"
        assert browser.execute_script(width) > 0.9
        set_width(browser, 400)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 400
