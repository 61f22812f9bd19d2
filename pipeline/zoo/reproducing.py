"""Comparison of an audit of a model of the zoo with the figures of its card."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dermrobust.attacks.attack import Attack
from dermrobust.attacks.selection import read_attack
from dermrobust.components.evaluation.reading import Evaluation
from dermrobust.components.evaluation.rows import Figure
from dermrobust.pipeline.zoo.card import Card, CardFigure


@dataclass(frozen=True)
class Reproduced:
    """A figure of the card beside that of an audit; None: the audit has not measured it."""

    card: CardFigure
    audit: Figure | None

    @property
    def inside(self) -> bool | None:
        """Whether the audit's figure lies within the card's interval; None: it cannot be told."""
        low, high = self.card.lower, self.card.upper
        return None if self.audit is None or low is None or high is None else low <= self.audit.value <= high


@dataclass(frozen=True)
class Reproduction:
    """Comparison of an audit with a card.

    Attributes:
        card: the card.
        split: digest of the audited images.
        figures: figures side by side; empty if the images are not those of the card.
        differences: settings that differ, for readers.
    """

    card: Card
    split: str
    figures: tuple[Reproduced, ...]
    differences: tuple[str, ...]

    @property
    def same_split(self) -> bool:
        """Whether the audited images are those of the card."""
        return self.split == self.card.split.sha256


def audited_attacks(card: Card) -> dict[str, Attack]:
    """Return the attacks of a card that an audit can run: those that need no other model."""
    attacks = {name: read_attack(parameters) for name, parameters in card.evaluation.attacks.items()}
    return {name: attack for name, attack in attacks.items() if not attack.sources}


def reproduction(card: Card, evaluation: Evaluation, model: str, split: str) -> Reproduction:
    """Return an audit's figures beside those of the card.

    Args:
        card: the card.
        evaluation: the audit's evaluation.
        model: name of the model in it.
        split: digest of the audited images; see `split_digest.combined_digest`.
    """
    if split != card.split.sha256:
        return Reproduction(card, split, (), ())
    figures = tuple(
        Reproduced(each, evaluation.figure(model, each.attack, each.epsilon, each.metric, each.slice))
        for each in (*card.figures, *card.radii, *card.beyond)
    )
    return Reproduction(card, split, figures, tuple(_differences(card, evaluation)))


def _differences(card: Card, evaluation: Evaluation) -> Iterator[str]:
    about, measured = evaluation.about, card.evaluation
    left_out = [name for name in measured.attacks if name not in about.attacks]
    if left_out:
        yield f"attacks that the audit leaves out: {', '.join(left_out)}"
    changed = [name for name, found in about.attacks.items() if measured.attacks.get(name, found) != found]
    if changed:
        yield f"attacks with other parameters than on the card: {', '.join(changed)}"
    for name, stated in (
        ("norm", measured.norm),
        ("epsilons", card.epsilons),
        ("threats", measured.threats),
        ("searches", measured.searches),
        ("seed", measured.seed),
        ("specificity", measured.specificity),
    ):
        found = getattr(about, name)
        if found != stated:
            yield f"{name}: {found}; card: {stated}"
