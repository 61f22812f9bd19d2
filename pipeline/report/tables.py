"""Tables of figures; a reader selects one of a set by metric, model, attack and budget."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dermrobust.components.evaluation.names import CLEAN, CONSTANT
from dermrobust.components.evaluation.reading import Evaluation
from dermrobust.components.evaluation.rows import Figure
from dermrobust.pipeline.report import wording


@dataclass(frozen=True)
class Selector:
    """Control of the page: its options by value, and the value that is selected at first."""

    name: str
    label: str
    options: Mapping[str, str]
    first: str


@dataclass(frozen=True)
class Heading:
    """Heading of a column or a row: its key, its text, and a remark."""

    key: str
    label: str
    note: str = ""


@dataclass(frozen=True)
class Row:
    """Figures under one heading; None where nothing was measured or the metric is undefined."""

    heading: Heading
    cells: tuple[Figure | None, ...]


@dataclass(frozen=True)
class Table:
    """Table of figures: the values of the selectors that show it, its caption, columns and rows."""

    keys: Mapping[str, str]
    caption: str
    columns: tuple[Heading, ...]
    rows: tuple[Row, ...]
    more_is_better: bool = True


@dataclass(frozen=True)
class TableSet:
    """Tables and the selectors that show one of them.

    Attributes:
        id: id of its element in the page.
        corner: heading of the column of row headings.
        look: "bars" or "heat".
        selectors: controls.
        tables: one table for each combination of their options.
    """

    id: str
    corner: str
    look: str
    selectors: tuple[Selector, ...]
    tables: tuple[Table, ...]

    @property
    def empty(self) -> bool:
        """Whether no table has a figure."""
        return not any(cell for table in self.tables for row in table.rows for cell in row.cells)

    def is_first(self, table: Table) -> bool:
        """Return whether a table is the one that is shown at first."""
        return all(table.keys[selector.name] == selector.first for selector in self.selectors)


Axis = Iterable[tuple[Heading, Mapping[str, Any]]]
"""Headings of rows or columns, each with its part of the arguments of `Evaluation.figure`."""


def crossed(
    evaluation: Evaluation, keys: Mapping[str, str], caption: str, rows: Axis, columns: Axis, **place: Any
) -> Table:
    """Return the table of the figures where rows and columns cross.

    Args:
        evaluation: the evaluation.
        keys: values of the selectors that show the table.
        caption: caption of the table.
        rows: headings of the rows.
        columns: headings of the columns.
        place: arguments of `Evaluation.figure` that all cells share.
    """
    headings = list(columns)
    cells = tuple(
        Row(heading, tuple(evaluation.figure(**{**place, **part, **other}) for _, other in headings))
        for heading, part in rows
    )
    better = "metric" not in place or wording.metric(place["metric"]).more_is_better
    return Table(keys, caption, tuple(heading for heading, _ in headings), cells, better)


def table_set(
    id_: str, corner: str, look: str, selectors: Sequence[Selector], table: Callable[[dict[str, str]], Table]
) -> TableSet:
    """Return a table for every combination of the selectors' options; see `TableSet`."""
    return TableSet(id_, corner, look, tuple(selectors), tuple(map(table, combinations(selectors))))


def models_axis(evaluation: Evaluation) -> Axis:
    """Yield the models with their roles, and the constant classifier."""
    about = evaluation.about
    gated = None if evaluation.blessing is None else evaluation.candidate
    roles = {about.baseline: "baseline", gated: "candidate", CONSTANT: f"always {about.constant_class}"}
    for model in evaluation.models:
        yield Heading(model, model, roles.get(model, "")), {"model": model}


def attacks_axis(evaluation: Evaluation) -> Axis:
    """Yield clean images, every attack, and the worst case."""
    for attack in evaluation.conditions:
        yield Heading(attack, wording.condition(attack)), {"attack": attack}


def budgets_axis(evaluation: Evaluation, attack: str, clean: str = "0", label: str = "ε") -> Axis:
    """Yield clean images, and an attack at each budget.

    Args:
        evaluation: the evaluation.
        attack: name of the attack.
        clean: key of the heading of clean images.
        label: text before each budget.
    """
    yield Heading(clean, wording.condition(CLEAN)), {"attack": CLEAN, "epsilon": 0.0}
    if attack in evaluation.conditions:
        for epsilon in evaluation.about.epsilons:
            text = f"{label} {wording.budget(epsilon, evaluation.about.norm)}"
            yield Heading(key(epsilon), text), {"attack": attack, "epsilon": epsilon}


def key(epsilon: float) -> str:
    """Return a budget as the key of an option or a column."""
    return f"{epsilon:g}"


def selector(
    name: str, label: str, values: Iterable[str], text: Callable[[str], str] = str, first: str | None = None
) -> Selector:
    """Return a selector; `first`, or the first value where it is none of the values, is selected at first."""
    options = {value: text(value) for value in values}
    return Selector(name, label, options, first if first in options and first is not None else next(iter(options), ""))


def metric_selector(
    evaluation: Evaluation, names: Iterable[str], first: str | None = "accuracy", *, of_class: bool = False
) -> Selector:
    """Return the selector of a metric; `of_class` names metrics as they are called within one class."""

    def text(name: str) -> str:
        shown = wording.metric(name, evaluation.about.task)
        return shown.class_label if of_class else shown.label

    return selector("metric", "Metric", names, text, first)


def model_selector(evaluation: Evaluation) -> Selector:
    """Return the selector of a model; the candidate is selected at first."""
    return selector("model", "Model", evaluation.models, first=evaluation.candidate)


def attack_selector(evaluation: Evaluation, names: Iterable[str]) -> Selector:
    """Return the selector of an attack."""
    return selector("attack", "Attack", names, wording.condition)


def epsilon_selector(evaluation: Evaluation) -> Selector:
    """Return the selector of a budget; at first 4/255, the most frequent one in the literature on 8-bit images."""
    budgets = {key(epsilon): epsilon for epsilon in evaluation.about.epsilons}
    middle = list(budgets)[len(budgets) // 2] if budgets else None
    norm = evaluation.about.norm
    first = "4" if "4" in budgets else middle
    return selector("epsilon", "Budget ε", budgets, lambda name: wording.budget(budgets[name], norm), first)


def combinations(selectors: Sequence[Selector]) -> Iterator[dict[str, str]]:
    """Yield every combination of options, by the names of the selectors."""
    names = [each.name for each in selectors]
    for values in itertools.product(*(each.options for each in selectors)):
        yield dict(zip(names, values, strict=True))
