"""Boards: tables of figures of which a reader chooses one by a few controls, such as metric and budget."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dermrobust.components.evaluation.reading import Evaluation
from dermrobust.components.evaluation.rows import Figure
from dermrobust.pipeline.report import wording


@dataclass(frozen=True)
class Option:
    """A value of a control and how it is written."""

    value: str
    label: str


@dataclass(frozen=True)
class Choice:
    """A control: what it chooses, and the option that is chosen at first."""

    name: str
    label: str
    options: tuple[Option, ...]
    first: str


@dataclass(frozen=True)
class Heading:
    """Of a column or a row: its key, its text, and a remark."""

    key: str
    label: str
    note: str = ""


@dataclass(frozen=True)
class Row:
    """Figures under one heading; None where nothing was measured or the metric is undefined."""

    heading: Heading
    cells: tuple[Figure | None, ...]

    @property
    def small(self) -> bool:
        """Whether any of its figures stands on too few images."""
        return any(cell is not None and cell.small for cell in self.cells)


@dataclass(frozen=True)
class Panel:
    """One table: what is chosen when it is seen, its columns and rows, and the metrics of the columns."""

    keys: Mapping[str, str]
    caption: str
    columns: tuple[Heading, ...]
    rows: tuple[Row, ...]
    more_is_better: bool = True


@dataclass(frozen=True)
class Board:
    """Panels and the controls that choose one of them.

    Attributes:
        id: of its element in the page.
        corner: what the row headings are.
        look: "bars" or "heat".
    """

    id: str
    corner: str
    look: str
    choices: tuple[Choice, ...]
    panels: tuple[Panel, ...]

    @property
    def empty(self) -> bool:
        """Whether no panel has a figure."""
        return not any(cell for panel in self.panels for row in panel.rows for cell in row.cells)

    def is_first(self, panel: Panel) -> bool:
        """Tell whether a panel is the one that is seen at first."""
        return all(panel.keys[choice.name] == choice.first for choice in self.choices)


def key(epsilon: float) -> str:
    """Return a budget as the key of an option or a column."""
    return f"{epsilon:g}"


def choice(
    name: str, label: str, values: Sequence[str], text: Callable[[str], str], first: str | None = None
) -> Choice:
    """Return a control; `first` where it is one of the values, else the first of them, is chosen at first."""
    chosen = first if first is not None and first in values else next(iter(values), "")
    return Choice(name, label, tuple(Option(value, text(value)) for value in values), chosen)


def metric_choice(evaluation: Evaluation, names: Sequence[str], first: str = "accuracy") -> Choice:
    """Return the control for a metric."""
    return choice("metric", "Metric", names, lambda name: wording.metric(name, evaluation.about.task).label, first)


def model_choice(evaluation: Evaluation) -> Choice:
    """Return the control for a model; the candidate is chosen at first."""
    return choice("model", "Model", evaluation.models, str, evaluation.candidate)


def epsilon_choice(evaluation: Evaluation) -> Choice:
    """Return the control for a budget; at first that which the literature on 8-bit images names most, 4/255."""
    budgets = {key(epsilon): epsilon for epsilon in evaluation.about.epsilons}
    middle = list(budgets)[len(budgets) // 2] if budgets else None
    first = "4" if "4" in budgets else middle
    return choice(
        "epsilon", "Budget ε", list(budgets), lambda k: wording.budget(budgets[k], evaluation.about.norm), first
    )


def combinations(choices: Sequence[Choice]) -> Iterator[dict[str, str]]:
    """Yield every combination of what can be chosen."""
    names = [choice.name for choice in choices]
    for values in itertools.product(*([option.value for option in choice.options] for choice in choices)):
        yield dict(zip(names, values, strict=True))
