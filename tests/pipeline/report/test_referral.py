"""Selective prediction on the page, on the card, in the terminal and in names of figures."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from dermrobust.components.evaluation import files
from dermrobust.components.evaluation.conditions import of_referral
from dermrobust.components.evaluation.reading import Evaluation
from dermrobust.components.evaluation.referral_params import ReferralSettings
from dermrobust.components.evaluation.referrals import ReferralThreshold, Rejector
from dermrobust.components.evaluation.rows import Figure, Place, RiskCoverage
from dermrobust.components.evaluation.schemas import RISK_COVERAGE_SCHEMA
from dermrobust.pipeline.api.evaluation import Evaluation as Public
from dermrobust.pipeline.cli.referral_table import referral_table
from dermrobust.pipeline.report import wording
from dermrobust.pipeline.report.card import render_card
from dermrobust.pipeline.report.html import render_page
from dermrobust.pipeline.report.lineage import Lineage
from dermrobust.pipeline.report.panels.referral import METRICS, referral_tables, risk_charts
from dermrobust.pipeline.reporting import EvaluatedRun
from tests.pipeline.report.evaluations import CLASSES, EPSILONS, MODELS

RATES = (0.1, 0.25)


@pytest.fixture
def referring(evaluation: Evaluation, folder: Path, tmp_path: Path) -> Evaluation:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    figures = dict(evaluation.figures)
    curve = []
    for model in (*MODELS, "constant"):
        for attack, epsilon in (("none", 0.0), *(("worst_case", epsilon) for epsilon in EPSILONS)):
            for where in ("overall", *(f"dx={name}" for name in CLASSES)):
                for rate in RATES:
                    for index, metric in enumerate(METRICS):
                        value = 0.9 - 0.1 * index - 0.01 * epsilon - rate
                        place = Place(model, of_referral(rate, attack), epsilon, where, metric)
                        figures[place] = Figure(value, 100, value - 0.05, value + 0.05)
            for share in (0.5, 1.0):
                risk = 0.2 * share + 0.01 * epsilon
                curve.append(vars(RiskCoverage(model, attack, epsilon, share, 0.5, risk, 0.0, 1.0, 10)))
    pq.write_table(pa.Table.from_pylist(curve, schema=RISK_COVERAGE_SCHEMA), tmp_path / files.RISK_COVERAGE)
    thresholds = tuple(ReferralThreshold(rate=rate, threshold=0.4 + rate, referred=rate) for rate in RATES)
    fitted = Rejector(
        temperature=1.537,
        thresholds=thresholds,
        images=812,
        nll_before=0.9,
        nll_after=0.8,
        ece_before=0.123,
        ece_after=0.045,
    )
    settings = ReferralSettings(rates=RATES).model_dump(mode="json")
    rejectors = {model: fitted.model_dump(mode="json") for model in MODELS}
    about = evaluation.about.model_copy(update={"referral": settings, "rejectors": rejectors})
    return replace(evaluation, figures=figures, about=about, uri=str(tmp_path))


def test_page_card_and_terminal_show_what_is_missed_by_class(
    referring: Evaluation, evaluation: Evaluation, lineage: Lineage
) -> None:
    keys = {"metric": "unreferred_missed", "model": "trades", "rate": "0.25"}
    (table,) = (each for each in referral_tables(referring).tables if each.keys == keys)
    assert not table.more_is_better
    melanoma = next(row for row in table.rows if row.heading.key == "dx=mel")
    shown = {column.key: cell for column, cell in zip(table.columns, melanoma.cells, strict=True)}
    assert {key: round(cell.value, 3) for key, cell in shown.items() if cell} == {
        "none-0": 0.35,
        **{f"worst_case-{epsilon:g}": round(0.35 - 0.01 * epsilon, 3) for epsilon in EPSILONS},
    }
    clean, *attacked = risk_charts(referring)
    assert (clean.title, len(attacked)) == ("Risk over coverage, clean", len(EPSILONS))
    assert [line.name for line in clean.lines] == [*MODELS, "constant"]
    assert "coverage 1.0: risk 0.200" in clean.lines[0].marks[-1].text
    section = render_page(referring, lineage).split('<section id="referral"')[1].split("</section>")[0]
    assert "1.537" in section and "0.650" in section and "0.123 to 0.045" in section
    assert "Not in this evaluation: selective prediction" in render_page(evaluation, lineage)
    card = render_card(referring, lineage)
    rows = [line for line in card.splitlines() if line.startswith("| 0.25 | mel | clean |")]
    assert len(rows) == 1 and rows[0].count("|") == 9 and "0.350 (0.300 to 0.400; n 100)" in rows[0]
    assert "Selective prediction" not in render_card(evaluation, lineage)
    console = Console(file=io.StringIO(), width=100)
    console.print(referral_table(referring, list(RATES)))
    assert isinstance(console.file, io.StringIO)
    rows = [line for line in console.file.getvalue().splitlines() if "trades" in line]
    assert rows[1].split() == ["trades", "0.1", "1/255", "0.790", "0.690", "0.590", "0.490", "100"]
    # Conditions of the norm are untouched.
    assert (referring.conditions, referring.attacks) == (evaluation.conditions, evaluation.attacks)
    assert wording.under("referral/0.25/worst_case", 4, "linf") == "Referral rate 0.25, worst case, 4/255"
    public = Public(EvaluatedRun("any", referring, lineage))
    found = public.figure("trades", "referral/0.1/worst_case", 4, "coverage", "dx=mel")
    assert found is not None and found.value == pytest.approx(0.76)
    assert public.table("risk_coverage").num_rows == 4 * 5 * 2


def test_figures_have_names_of_their_own_in_mlflow() -> None:
    pytest.importorskip("mlflow")
    from dermrobust.pipeline.tracking.mlflow import metric_key

    place = Place("trades", "referral/0.25/pgd", 4.0, "overall", "coverage")
    assert metric_key(place, "linf") == "referral:0.25/pgd/linf:4/overall/coverage"
