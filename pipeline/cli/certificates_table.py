"""Terminal table of what was certified."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from dermrobust.pipeline.report.wording import number

if TYPE_CHECKING:
    from dermrobust.pipeline.certifying import Bounds, Summary


def certificates_table(found: Sequence[Summary]) -> Table:
    """Return the table of smoothed classifiers: accuracy on clean images, abstentions, and bounds at each radius."""
    title = "Smoothed classifiers: certified accuracy, and accuracy under an attack, by L2 radius"
    table = Table(title=title, box=box.SIMPLE_HEAD)
    table.add_column("model", no_wrap=True)
    radii = [f"{bounds.radius:.3g}" for bounds in found[0].bounds]
    for name in ("sigma", "clean", "abstained", "mean radius", *radii, "n"):
        table.add_column(name, justify="right", no_wrap=True)
    for summary in found:
        figures = map(number, (summary.accuracy, summary.abstained, summary.mean_radius))
        bounds = map(_between, summary.bounds)
        table.add_row(summary.model, f"{summary.sigma:g}", *figures, *bounds, str(summary.images))
    return table


def _between(bounds: Bounds) -> str:
    return number(bounds.lower) + ("" if bounds.upper is None else f" to {number(bounds.upper)}")
