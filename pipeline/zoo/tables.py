"""Published tables of a zoo, as Markdown, and their place in a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dermrobust.attacks.errors import UserError
from dermrobust.components.evaluation.names import CLEAN, CONSTANT, WORST_CASE
from dermrobust.components.evaluation.rows import Figure
from dermrobust.pipeline.report import wording
from dermrobust.pipeline.zoo.card import Card, CardFigure, find_figure
from dermrobust.pipeline.zoo.card_text import heads

BEGIN, END = "<!-- zoo: begin -->", "<!-- zoo: end -->"
"""Lines of a page between which its tables are generated."""
_EMPTY = "The zoo has no models yet."
_OVERALL = ("balanced_accuracy", "accuracy", "macro_auc", "critical_sensitivity")
"""Metrics in the order of their tables: accuracy flatters a classifier that answers the frequent class."""


def with_tables(page: str, cards: Sequence[Card]) -> str:
    """Return a page whose part between the markers is generated from cards.

    Raises:
        UserError: the page does not have each marker once, in their order.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise UserError(f"the page needs the lines '{BEGIN}' and '{END}' once each, in this order")
    return f"{before}{BEGIN}\n{zoo_tables(cards)}\n{END}{after}"


def zoo_tables(cards: Sequence[Card]) -> str:
    """Return the tables of all models; cards whose test split differs stand in tables of their own."""
    if not cards:
        return _EMPTY
    groups: dict[tuple[str, str], list[Card]] = {}
    for card in cards:
        groups.setdefault((card.task.name, card.split.sha256), []).append(card)
    return "\n\n".join(part for group in groups.values() for part in _sections(group))


def _sections(cards: Sequence[Card]) -> Iterator[str]:
    split, task = cards[0].split, cards[0].task
    yield (
        f"Test split of {split.dataset}: {wording.count(split.images)} images of {wording.count(split.groups)} "
        f"{task.group_noun}s, digest `{split.sha256[:12]}`. 95 % intervals in brackets; `worst case`: right when clean "
        "and under every attack at that budget."
    )
    yield _table(("model", "trained against", "network", "weights", "input", "self-checks"), map(_about, cards))
    for metric in _OVERALL:
        rows = list(_rows(cards, metric))
        if any(cell != _text(None) for row in rows for cell in row[1:]):
            yield f"**{wording.metric(metric, task).label}**"
            yield _table(("model", *_heads(cards)), rows)
    for attack, epsilon in _conditions(cards):
        under = wording.under(attack, epsilon, cards[0].evaluation.norm)
        yield f"**Recall by class, {under[0].lower()}{under[1:]}**"
        yield _table(("model", *_class_heads(cards)), _class_rows(cards, attack, epsilon))


def _about(card: Card) -> tuple[str, ...]:
    network = card.training.network
    name = str(network.get("network") if isinstance(network, dict) else network)
    failed = f"{len(card.failed)} of {len(card.checks)} fail" if card.failed else "none fails"
    size = f"{card.preprocessing.height} x {card.preprocessing.width} px"
    weights = wording.count(card.training.weights)
    return (f"`{card.full_name}`", card.training.threat or "clean images", name, weights, size, failed)


def _conditions(cards: Sequence[Card]) -> list[tuple[str, float]]:
    """Return clean images, and the worst case at every budget of any card."""
    epsilons = sorted({epsilon for card in cards for epsilon in card.epsilons})
    return [(CLEAN, 0.0), *((WORST_CASE, epsilon) for epsilon in epsilons)]


def _heads(cards: Sequence[Card]) -> list[str]:
    found = dict(item for card in cards for item in zip(card.conditions, heads(card), strict=True))
    return [found[place].replace("ε ", "worst case, ε ") for place in _conditions(cards)]


def _rows(cards: Sequence[Card], metric: str) -> Iterator[tuple[str, ...]]:
    for name, figures in _classifiers(cards):
        yield (name, *(_text(find_figure(figures, *place, metric)) for place in _conditions(cards)))


def _class_heads(cards: Sequence[Card]) -> list[str]:
    card = cards[0]
    found = [(where, card.figure(CLEAN, 0.0, "accuracy", where)) for where in card.class_slices]
    return [f"{where.partition('=')[2]} (n = {0 if figure is None else figure.n})" for where, figure in found]


def _class_rows(cards: Sequence[Card], attack: str, epsilon: float) -> Iterator[tuple[str, ...]]:
    for name, figures in _classifiers(cards):
        places = (find_figure(figures, attack, epsilon, "accuracy", where) for where in cards[0].class_slices)
        yield (name, *map(_text, places))


def _classifiers(cards: Sequence[Card]) -> Iterator[tuple[str, tuple[CardFigure, ...]]]:
    """Yield the figures of the constant classifier, where a card has them, and of every model."""
    measured = next((card for card in cards if card.floor), None)
    if measured is not None:
        yield f"{CONSTANT} (always {measured.evaluation.constant_class})", measured.floor
    for card in cards:
        yield f"`{card.full_name}`", card.figures


def _text(figure: Figure | None) -> str:
    if figure is None:
        return "–"
    interval = f" [{figure.lower:.2f}, {figure.upper:.2f}]" if figure.has_interval else ""
    return f"{figure.value:.3f}{interval}"


def _table(head: Sequence[str], rows: Iterator[tuple[str, ...]] | Sequence[tuple[str, ...]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
