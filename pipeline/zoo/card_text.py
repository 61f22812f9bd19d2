"""Model card of the zoo as Markdown, rendered from `card.json` alone."""

from __future__ import annotations

from collections import Counter

from dermrobust.components.evaluation.checks import Check, Status
from dermrobust.components.evaluation.conditions import family_of
from dermrobust.components.evaluation.names import CLEAN
from dermrobust.components.evaluation.schemas import OVERALL
from dermrobust.pipeline.report import wording
from dermrobust.pipeline.report.card import figure, markdown_templates
from dermrobust.pipeline.report.panels.radii import radius_text
from dermrobust.pipeline.zoo.card import CARD_TEXT, Card, CardFigure, find_figure


def render_card_text(card: Card) -> str:
    """Return the content of `card.md`; its own digest is not in it, since the card holds that."""
    return (
        markdown_templates()
        .get_template("zoo_card.md")
        .render(
            card=card,
            task=card.task,
            files={name: digest for name, digest in card.files.items() if name != CARD_TEXT},
            heads=heads(card),
            overall=_overall(card),
            classes=_classes(card),
            radii=_radii(card),
            beyond=_beyond(card),
            doubts=_doubts(card),
            words=wording,
            duration=wording.duration,
        )
    )


def heads(card: Card) -> list[str]:
    """Return a heading for each of the card's conditions: "clean", "ε 4/255"."""
    norm = card.evaluation.norm
    return ["clean" if attack == CLEAN else f"ε {wording.budget(epsilon, norm)}" for attack, epsilon in card.conditions]


def _overall(card: Card) -> list[list[str]]:
    """Return a row for each metric over all images, the model's before that of the constant classifier."""
    rows = []
    for metric in dict.fromkeys(each.metric for each in card.figures):
        label = wording.metric(metric, card.task).label
        rows.append([label, *(figure(card.figure(*place, metric)) for place in card.conditions)])
        if card.floor:
            floor = (find_figure(card.floor, *place, metric) for place in card.conditions)
            rows.append([f"{label}, always {card.evaluation.constant_class}", *map(figure, floor)])
    return rows


def _classes(card: Card) -> list[list[str]]:
    """Return a row for each class: its recall."""
    return [
        [where.partition("=")[2], *(figure(card.figure(*place, "accuracy", where)) for place in card.conditions)]
        for where in card.class_slices
    ]


def _radii(card: Card) -> list[list[str]]:
    """Return a row for each median robust radius: images, attack, median."""
    largest, norm = max(card.evaluation.epsilons), card.evaluation.norm
    few = {True: "; too few to conclude from", False: ""}
    return [
        [_images(each), each.attack, f"{radius_text(each.figure, largest, norm)}{few[each.small]}"]
        for each in card.radii
    ]


def _beyond(card: Card) -> list[list[str]]:
    """Return a row for each figure beyond a norm: threat model, images, accuracy."""
    return [[f"{family_of(each.attack)}:{each.epsilon:g}", _images(each), figure(each.figure)] for each in card.beyond]


def _doubts(card: Card) -> list[tuple[Check, int]]:
    """Return each self-check that did not pass, once, with the number of evaluations in which it says the same."""
    found = [check for check in card.checks if check.status is not Status.PASS]
    keys = [(check.name, check.model, check.sentence) for check in found]
    times = Counter(keys)
    return [(check, times[key]) for key, check in dict(zip(keys, found, strict=True)).items()]


def _images(each: CardFigure) -> str:
    return "all" if each.slice == OVERALL else each.slice.partition("=")[2]
