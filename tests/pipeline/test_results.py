"""Tables of results on the terminal and in the documentation."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from benchmarks.results import overall
from dermrobust.pipeline.cli.results import summary_table
from tests.pipeline.report.evaluations import MODELS, metric_rows


def on_the_terminal(rows: list[dict[str, Any]]) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(summary_table([row for row in rows if row["slice"] == "overall"]))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def as_markdown(rows: list[dict[str, Any]]) -> str:
    return "\n".join(overall([row for row in rows if row["metric"] != "macro_auc"]))


@pytest.mark.parametrize("table", [on_the_terminal, as_markdown])
def test_the_constant_classifier_is_one_row_after_the_models(table: Any) -> None:
    lines = [line.replace("|", " ").split() for line in table(metric_rows()).splitlines()]
    named = [line for line in lines if line and line[0] in (*MODELS, "constant")]
    assert [line[0] for line in named].count("constant") == 1
    assert named[-1][:3] == ["constant", "any", "0.669"]
    assert named[-1][-1] == "1930"
    assert any(cell.startswith("0.143") for cell in named[-1])
