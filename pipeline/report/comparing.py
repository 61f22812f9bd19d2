"""Comparison of two evaluations: figures, differences, overlap of intervals, and reasons against comparing them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dermrobust.components.evaluation.description import Description
from dermrobust.components.evaluation.reading import Evaluation
from dermrobust.components.evaluation.rows import Figure, Place
from dermrobust.components.evaluation.schemas import OVERALL
from dermrobust.pipeline.report import wording
from dermrobust.pipeline.report.html import render
from dermrobust.pipeline.report.lineage import Lineage


@dataclass(frozen=True)
class Side:
    """One of the two runs, and its name."""

    name: str
    evaluation: Evaluation
    lineage: Lineage


@dataclass(frozen=True)
class Pair:
    """A figure of both runs at the same place; None where a run has none."""

    place: Place
    first: Figure | None
    second: Figure | None

    @property
    def change(self) -> float | None:
        """Second figure minus the first."""
        return None if self.first is None or self.second is None else self.second.value - self.first.value

    @property
    def overlap(self) -> bool | None:
        """Whether the 95 % intervals overlap; None where one is not known."""
        if self.first is None or self.second is None:
            return None
        lowers, uppers = (self.first.lower, self.second.lower), (self.first.upper, self.second.upper)
        known = [bound for bound in (*lowers, *uppers) if bound is not None]
        return max(known[:2]) <= min(known[2:]) if len(known) == 4 else None

    @property
    def says(self) -> str:
        """Whether the intervals overlap, in words."""
        if self.overlap is None:
            return "–" if self.change is not None else "only in one run"
        return "intervals overlap" if self.overlap else "intervals apart"


@dataclass(frozen=True)
class Compared:
    """Two runs, their figures, and each reason why these cannot be compared."""

    first: Side
    second: Side
    differences: tuple[str, ...]
    pairs: tuple[Pair, ...]

    @property
    def comparable(self) -> bool:
        """Whether both saw the same images, attacks and seeds."""
        return not self.differences


def compare(first: Side, second: Side, where: str = OVERALL) -> Compared:
    """Return the figures of two runs on the images of a slice."""
    return Compared(first, second, tuple(_differences(first, second)), tuple(_pairs(first, second, where)))


def render_comparison(compared: Compared) -> str:
    """Return a comparison as an HTML page."""
    shown = {pair.place.metric: None for pair in compared.pairs}
    return render(
        "compare.html",
        compared=compared,
        metrics=[(name, wording.metric(name, compared.first.evaluation.about.task).label) for name in shown],
    )


def _pairs(first: Side, second: Side, where: str) -> Iterator[Pair]:
    places = [place for side in (first, second) for place in side.evaluation.figures if place.slice == where]
    models = dict.fromkeys(model for side in (first, second) for model in side.evaluation.about.models)
    order = {name: index for index, name in enumerate(models)}
    conditions = dict.fromkeys(
        name for side in (first, second) for name in (*side.evaluation.conditions, *side.evaluation.searched)
    )
    attacks = {name: index for index, name in enumerate(conditions)}

    def rank(place: Place) -> tuple[Any, ...]:
        return order.get(place.model, len(order)), attacks[place.attack], place.epsilon

    for place in sorted(dict.fromkeys(places), key=rank):
        yield Pair(place, first.evaluation.figures.get(place), second.evaluation.figures.get(place))


def _differences(first: Side, second: Side) -> Iterator[str]:
    one, other = first.evaluation.about, second.evaluation.about
    data, more = first.lineage.data, second.lineage.data
    if data is not None and more is not None:
        if data.digest != more.digest:
            yield f"The images differ: {data.name} ({data.digest[:12]}) and {more.name} ({more.digest[:12]})."
        if data.preparation != more.preparation:
            ways = f"{wording.flat(data.preparation)} and {wording.flat(more.preparation)}"
            yield f"The images were prepared differently: {ways}."
    elif data is not more:
        yield "The images of one run are not known."
    if one.norm != other.norm:
        yield f"Budgets are measured in different norms: {one.norm} and {other.norm}."
    yield from _threat_differences(one, other)
    yield from _attack_differences(first.lineage, second.lineage)
    if first.lineage.seed != second.lineage.seed:
        yield f"The seeds of the attacks differ: {first.lineage.seed} and {second.lineage.seed}."
    if one.images != other.images:
        yield f"The number of test images differs: {wording.count(one.images)} and {wording.count(other.images)}."


def _threat_differences(one: Description, other: Description) -> Iterator[str]:
    if one.threats != other.threats:
        listed = [", ".join(about.threats) or "none" for about in (one, other)]
        yield f"The threat models beyond a norm differ: {listed[0]}; and {listed[1]}."
    elif one.searches != other.searches:
        yield "The searches under threat models beyond a norm differ."


def _attack_differences(first: Lineage, second: Lineage) -> Iterator[str]:
    for name in dict.fromkeys([*first.attacks, *second.attacks]):
        one, other = first.attacks.get(name), second.attacks.get(name)
        if one is None or other is None:
            which = "second" if one is None else "first"
            yield f"The attack '{name}' is only in the {which} run; worst cases differ by it."
        elif one != other:
            yield f"The attack '{name}' differs: {wording.flat(one)}; and {wording.flat(other)}."
