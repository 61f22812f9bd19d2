"""Curve over every budget and median radii, from the radius of each image."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dermrobust.components.evaluation.radii import robust_accuracy
from dermrobust.components.evaluation.reading import Evaluation, read_evaluation
from dermrobust.components.evaluation.schemas import METRICS_SCHEMA, radii_schema
from dermrobust.pipeline.report.card import render_card
from dermrobust.pipeline.report.html import render_page
from dermrobust.pipeline.report.lineage import Lineage
from tests.pipeline.report.evaluations import MODELS, metric_rows, write_evaluation

RADII = [0.0, 1.0, 3.0, 3.0, 8.0, None]


@pytest.fixture
def evaluation(tmp_path: Path) -> Evaluation:
    write_evaluation(tmp_path)
    columns = {"attack": ["minimal"] * 6, "epsilon": [8.0] * 6, "cluster": range(6), "label": [0, 0, 0, 1, 1, 1]}
    radii = {**columns, **{f"radius/{model}": RADII for model in MODELS}}
    pq.write_table(pa.table(radii, radii_schema(MODELS)), tmp_path / "radii.parquet")
    place = {"model": MODELS[0], "attack": "minimal", "norm": "linf", "epsilon": 8.0}
    figure = {"metric": "median_robust_radius", "n": 6, "lower": 1 / 255, "upper": 8 / 255, "small": False}
    rows = [
        {**place, **figure, "slice": where, "value": value / 255} for where, value in (("overall", 3), ("dx=mel", 8))
    ]
    pq.write_table(pa.Table.from_pylist([*metric_rows(), *rows], METRICS_SCHEMA), tmp_path / "metrics.parquet")
    return read_evaluation(str(tmp_path))


def test_any_budget_can_be_asked_for_afterwards(evaluation: Evaluation) -> None:
    radii = evaluation.table("radii.parquet")

    accuracies = [robust_accuracy(radii, "trades", epsilon, attack="minimal").value for epsilon in (0, 0.5, 1, 2, 3, 8)]

    np.testing.assert_allclose(accuracies, [5 / 6, 5 / 6, 4 / 6, 4 / 6, 2 / 6, 1 / 6])
    assert robust_accuracy(radii, "trades", 3, attack="minimal", label=1).value == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="known up to 8/255"):
        robust_accuracy(radii, "trades", 9, attack="minimal")
    with pytest.raises(ValueError, match="no radii under 'pgd'"):
        robust_accuracy(radii, "trades", 1, attack="pgd")


def test_page_and_card_show_curve_and_medians_in_levels(evaluation: Evaluation, lineage: Lineage) -> None:
    section = render_page(evaluation, lineage).split('<section id="radii"')[1].split("</section>")[0]

    assert "trades, budget ε 3/255: robust accuracy 0.333" in section
    shown = re.findall(r"<td>(.*?)</td>", section)
    # A median at the largest budget may lie beyond it.
    assert "3/255 [1/255 to ≥ 8/255], n 6" in shown and "≥ 8/255 [1/255 to ≥ 8/255], n 6" in shown
    card = render_card(evaluation, lineage)
    # One block: a blank line would end the table.
    table = next(
        block for block in card.split("\n\n") if block.startswith("| images | attack | median |\n|---|---|---|\n|")
    )
    assert r"| mel | minimal | ≥ 8/255 \[1/255 to ≥ 8/255\], n 6 |" in table


def test_without_radii_the_page_says_what_to_add(tmp_path: Path, lineage: Lineage) -> None:
    write_evaluation(tmp_path)
    evaluation = read_evaluation(str(tmp_path))

    assert "Add the attack <code>minimal</code>" in render_page(evaluation, lineage)
    assert "Median robust radius" not in render_card(evaluation, lineage)
