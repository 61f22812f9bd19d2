"""Geometry of line charts; the macro `chart` of the templates draws them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dermrobust.components.evaluation.rows import Figure
from dermrobust.pipeline.report import wording

COLORS = ("#0072b2", "#b34700", "#00795a", "#a6437f", "#1a2433", "#6b5b00")
"""After Okabe and Ito (2008), darkened to a contrast of 4.5 or more on white."""
_DASHES = ("", "7 4", "2 4", "9 3 2 3")
_MARKERS = (
    "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z",
    "M-4,-4h8v8h-8z",
    "M0,-5L5,4H-5z",
    "M0,-5L5,0L0,5L-5,0z",
    "M-5,-4H5L0,5z",
    "M-5,-2H-2V-5H2V-2H5V2H2V5H-2V2H-5z",
)
_LABEL_HEIGHT = 16.0


@dataclass(frozen=True)
class Series:
    """Figures of a line over positions on the horizontal axis, and the line's name."""

    name: str
    points: tuple[tuple[float, Figure], ...]


@dataclass(frozen=True)
class Mark:
    """Marker of a point: its place and its tooltip."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Line:
    """Drawn line: color, dashes and marker distinguish it, and its name stands at its end."""

    name: str
    color: str
    dash: str
    marker: str
    path: str
    band: str
    marks: tuple[Mark, ...]
    label_y: float


class Frame(NamedTuple):
    """View box of a chart, and the edges of the area of its lines."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float


LARGE = Frame(width=680.0, height=360.0, left=62.0, right=530.0, top=12.0, bottom=312.0)
SMALL = Frame(width=300.0, height=210.0, left=50.0, right=290.0, top=12.0, bottom=170.0)


@dataclass(frozen=True)
class LineChart:
    """Chart of values from 0 to 1, in the units of its view box."""

    title: str
    description: str
    x_label: str
    y_label: str
    frame: Frame
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    lines: tuple[Line, ...]
    small: bool
    asked: Mark | None = None


def look(index: int) -> tuple[str, str, str]:
    """Return color, dashes and marker of the line of an index; no two of the first twelve are alike."""
    return COLORS[index % len(COLORS)], _DASHES[(index // len(COLORS)) % len(_DASHES)], _MARKERS[index % len(_MARKERS)]


def series(name: str, points: Iterable[tuple[float, Figure | None]]) -> Series:
    """Return the line of a name through the points that have a figure."""
    return Series(name, tuple((float(x), figure) for x, figure in points if figure))


def line_chart(
    title: str,
    y_label: str,
    x_label: str,
    lines: Sequence[Series],
    x_ticks: Sequence[tuple[float, str]],
    small: bool = False,
    asked: float | None = None,
) -> LineChart:
    """Return a chart of values from 0 to 1 over the range of `x_ticks`.

    Args:
        title: title of the chart.
        y_label: name of the values.
        x_label: name of the horizontal axis.
        lines: lines, in the order of which their looks follow.
        x_ticks: positions on the horizontal axis and their text.
        small: one of many, without names at the ends of lines.
        asked: smallest value that a gate asks for; None: it asks for nothing here.
    """
    frame = SMALL if small else LARGE
    (low, _), (high, _), names = x_ticks[0], x_ticks[-1], dict(x_ticks)

    def across(x: float) -> float:
        return round(frame.left + (x - low) / ((high - low) or 1) * (frame.right - frame.left), 1)

    def down(y: float) -> float:
        return round(frame.bottom - y * (frame.bottom - frame.top), 1)

    ends = _spread([down(one.points[-1][1].value) if one.points else math.inf for one in lines], frame)
    drawn = []
    for index, one in enumerate(lines):
        bounded = [(across(x), figure) for x, figure in one.points if figure.has_interval]
        upper = [(x, down(figure.upper or 0.0)) for x, figure in bounded]
        lower = [(x, down(figure.lower or 0.0)) for x, figure in reversed(bounded)]
        marks = tuple(
            Mark(across(x), down(figure.value), _tooltip(one.name, f"{x_label} {names.get(x, x)}", y_label, figure))
            for x, figure in one.points
        )
        path = _path([(mark.x, mark.y) for mark in marks])
        band = _path(upper + lower) + "z" if len(bounded) > 1 else ""
        drawn.append(Line(one.name, *look(index), path, band, marks, ends[index]))
    return LineChart(
        title=title,
        description=_description(lines, x_label, names),
        x_label=x_label,
        y_label=y_label,
        frame=frame,
        x_ticks=tuple((across(x), text) for x, text in x_ticks),
        y_ticks=tuple((down(y / 5), f"{y / 5:.1f}") for y in range(6)),
        lines=tuple(drawn),
        small=small,
        asked=None if asked is None else Mark(frame.left, down(asked), f"the gate asks for {asked:g}"),
    )


def _tooltip(name: str, where: str, y_label: str, figure: Figure) -> str:
    interval = f", 95 % interval {wording.interval(figure)}" if figure.has_interval else ""
    return f"{name}, {where}: {y_label.lower()} {wording.number(figure.value)}{interval}, n {figure.n}"


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g},{y:g}" for x, y in points) if points else ""


def _spread(positions: Sequence[float], frame: Frame) -> list[float]:
    """Return the positions moved apart, so that labels do not cover each other."""
    order = sorted(range(len(positions)), key=lambda index: positions[index])
    placed = dict[int, float]()
    last = frame.top - _LABEL_HEIGHT
    for index in order:
        last = max(min(positions[index], frame.bottom), last + _LABEL_HEIGHT)
        placed[index] = last
    # Those that were moved below the chart are moved up again, the lowest first.
    limit = frame.bottom
    for index in reversed(order) if last > frame.bottom else ():
        placed[index] = min(placed[index], limit)
        limit = placed[index] - _LABEL_HEIGHT
    return [round(placed[index], 1) for index in range(len(positions))]


def _description(lines: Sequence[Series], x_label: str, names: dict[float, str]) -> str:
    parts = []
    for one in lines:
        if one.points:
            (first, start), (last, end) = one.points[0], one.points[-1]
            ends = [names.get(x, f"{x:g}") for x in (first, last)]
            values = [wording.number(figure.value) for figure in (start, end)]
            parts.append(f"{one.name}: from {values[0]} at {x_label} {ends[0]} to {values[1]} at {ends[1]}")
    return "; ".join(parts)
