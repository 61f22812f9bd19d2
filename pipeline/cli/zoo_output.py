"""Terminal output of the zoo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dermrobust.components.evaluation.rows import Figure
from dermrobust.components.evaluation.thresholds import CLEAN, WORST_CASE
from dermrobust.pipeline.report import wording
from dermrobust.pipeline.zoo.card import Card
from dermrobust.pipeline.zoo.reproducing import Reproduced, Reproduction

_METRIC = "balanced_accuracy"


def cards_table(cards: Sequence[Card]) -> Table:
    """Return the table of models: balanced accuracy, clean and in the worst case at each budget."""
    budgets = sorted({(epsilon, card.evaluation.norm) for card in cards for epsilon in card.evaluation.epsilons})
    title = f"{wording.metric(_METRIC).label} on test images that no model saw (95 %)"
    table = Table(title=title, box=box.SIMPLE_HEAD)
    for name in ("model", "trained against", "input"):
        table.add_column(name, no_wrap=True)
    for name in ("clean", *(wording.budget(*budget) for budget in budgets)):
        table.add_column(name, justify="right", no_wrap=True)
    for card in cards:
        worst = (
            card.figure(WORST_CASE, epsilon, _METRIC) if norm == card.evaluation.norm else None
            for epsilon, norm in budgets
        )
        size = f"{card.preprocessing.height} x {card.preprocessing.width}"
        figures = map(_figure, (card.figure(CLEAN, 0.0, _METRIC), *worst))
        table.add_row(*map(escape, (card.full_name, card.training.threat or "clean images", size, *figures)))
    return table


def print_reproduction(found: Reproduction) -> None:
    """Print whether each figure of an audit lies within the interval on the card."""
    console = Console()

    def line(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    name = found.card.full_name
    if not found.same_split:
        line(
            f"{name}: these images are not the test split of the card (digest {found.split[:12]}, card "
            f"{found.card.split.sha256[:12]}), so figures are not compared"
        )
        return
    for difference in found.differences:
        line(f"{name}: measured differently: {difference}")
    console.print(_reproduced_table(found))
    inside = [each.inside for each in found.figures]
    line(f"{name}: {inside.count(True)} of {len(inside)} figures lie within the card's 95 % interval")


def reproduction_json(found: Reproduction) -> dict[str, Any]:
    """Return the comparison as JSON values."""
    return {
        "model": found.card.full_name,
        "same_split": found.same_split,
        "split": found.split,
        "card_split": found.card.split.sha256,
        "differences": list(found.differences),
        "figures": [
            {
                **each.card.model_dump(mode="json"),
                "audit": None if each.audit is None else each.audit.value,
                "inside": each.inside,
            }
            for each in found.figures
        ],
    }


def _reproduced_table(found: Reproduction) -> Table:
    card = found.card
    table = Table(title=f"Audit beside the card of {card.full_name}", box=box.SIMPLE_HEAD)
    for name in ("images", "metric", "under"):
        table.add_column(name, no_wrap=True)
    for name in ("card (95 %)", "audit", "within"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in found.figures:
        place = each.card
        metric = wording.metric(place.metric, card.task).label
        under = wording.under(place.attack, place.epsilon, card.evaluation.norm)
        cells = (place.slice, metric, under, _figure(place.figure), _value(each.audit), _within(each))
        table.add_row(*map(escape, cells))
    return table


def _within(each: Reproduced) -> str:
    return {True: "yes", False: "no", None: "-"}[each.inside]


def _value(figure: Figure | None) -> str:
    return "-" if figure is None else f"{figure.value:.3f}"


def _figure(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    interval = f" [{figure.lower:.2f}, {figure.upper:.2f}]" if figure.has_interval else ""
    return f"{figure.value:.3f}{interval}"
