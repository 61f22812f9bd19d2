"""Recommendations rest on figures that stand in the results."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
FIGURE = re.compile(r"\b(\d\.\d{3})\s+\[(\d\.\d\d), (\d\.\d\d)\]")


def figures(page: str) -> set[tuple[str, ...]]:
    return set(FIGURE.findall((DOCS / page).read_text(encoding="utf-8")))


def test_every_figure_of_the_recommendations_is_one_of_the_results() -> None:
    quoted = figures("recommendations.md")

    assert len(quoted) > 10
    assert quoted <= figures("results.md")
