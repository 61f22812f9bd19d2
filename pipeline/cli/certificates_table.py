"""Terminal table of what was certified."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from dermrobust.pipeline.report.wording import number

if TYPE_CHECKING:
    from dermrobust.pipeline.certifying import Summary


def certificates_table(found: Sequence[Summary]) -> Table:
    """Return the table of smoothed classifiers: accuracy from both sides, abstentions, and mean radius."""
    table = Table(title="Smoothed classifiers: accuracy by L2 radius, from below and above", box=box.SIMPLE_HEAD)
    table.add_column("model", no_wrap=True)
    for name in ("sigma", "radius", "certified", "attacked", "abstained", "mean", "n"):
        table.add_column(name, justify="right", no_wrap=True)
    for summary in found:
        # Radius 0 is that of clean images; what does not depend on the radius stands there.
        mean = number(summary.mean_radius) if math.isfinite(summary.mean_radius) else ""
        for bounds in summary.bounds:
            once = ("", "", "") if bounds.radius else (number(summary.abstained), mean, str(summary.images))
            upper = "" if bounds.upper is None else number(bounds.upper)
            table.add_row(
                summary.model, f"{summary.sigma:g}", f"{bounds.radius:.3g}", number(bounds.lower), upper, *once
            )
    return table
