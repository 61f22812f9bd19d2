"""Terminal output of the zoo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dermrobust.components.evaluation.names import CLEAN, WORST_CASE
from dermrobust.components.evaluation.rows import Figure
from dermrobust.components.evaluation.schemas import OVERALL
from dermrobust.pipeline.cli.results import aligned
from dermrobust.pipeline.report import wording
from dermrobust.pipeline.zoo.card import Card
from dermrobust.pipeline.zoo.reproducing import Reproduction

_METRIC = "balanced_accuracy"
_WITHIN = {True: "yes", False: "no", None: "-"}


def cards_listing(cards: Sequence[Card]) -> str:
    """Return the models as text in columns: balanced accuracy, clean and in the worst case at each budget."""
    budgets = sorted({(epsilon, card.evaluation.norm) for card in cards for epsilon in card.epsilons})
    heads = ("clean", *(wording.budget(*budget) for budget in budgets))
    lines = [("model", "trained against", "input", *heads)]
    for card in cards:
        worst = (
            card.figure(WORST_CASE, epsilon, _METRIC) if norm == card.evaluation.norm else None
            for epsilon, norm in budgets
        )
        size = f"{card.preprocessing.height} x {card.preprocessing.width}"
        figures = map(_figure, (card.figure(CLEAN, 0.0, _METRIC), *worst))
        lines.append((card.full_name, card.training.threat or "clean images", size, *figures))
    title = f"{wording.metric(_METRIC).label} on test images that the model never saw, with 95 % intervals"
    return f"{title}\n\n{aligned(lines)}"


def reproduction_listing(found: Reproduction) -> str:
    """Return whether each figure of an audit lies within the interval on the card, as text in columns."""
    card = found.card
    if not found.same_split:
        return (
            f"{card.full_name}: these images are not the test split of the card (digest {found.split[:12]}, card "
            f"{card.split.sha256[:12]}); figures are not compared"
        )
    lines = [("images", "metric", "under", "card (95 %)", "audit", "within")]
    for each in found.figures:
        place = each.card
        shown = wording.metric(place.metric, card.task)
        metric = shown.label if place.slice == OVERALL else shown.class_label
        under = wording.under(place.attack, place.epsilon, card.evaluation.norm)
        lines.append((place.slice, metric, under, _figure(place.figure), _figure(each.audit), _WITHIN[each.inside]))
    compared = [each.inside for each in found.figures if each.inside is not None]
    verdict = f"{compared.count(True)} of {len(compared)} compared figures lie within the card's 95 % interval"
    if others := len(found.figures) - len(compared):
        verdict += f"; {others} are not compared: the audit did not measure them, or the card has no interval"
    return "\n".join(
        [
            f"Audit beside the card of {card.full_name}:\n",
            *(f"measured differently: {difference}" for difference in found.differences),
            aligned(lines),
            f"\n{verdict}",
        ]
    )


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


def _figure(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    interval = f" [{figure.lower:.2f}, {figure.upper:.2f}]" if figure.has_interval else ""
    return f"{figure.value:.3f}{interval}"
