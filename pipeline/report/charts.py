"""Line charts as geometry; the template `chart.svg` draws them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

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
class Point:
    """A point of a line with its 95 % interval, where there is one."""

    x: float
    y: float
    lower: float | None = None
    upper: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Series:
    """A line by its name."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Mark:
    """A drawn point: where, and what it says."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Line:
    """A drawn line: colour, dashes and marker tell it apart, and its name stands at its end."""

    name: str
    color: str
    dash: str
    marker: str
    path: str
    band: str
    marks: tuple[Mark, ...]
    label_y: float


@dataclass(frozen=True)
class LineChart:
    """A chart in the units of its view box; values from 0 to 1."""

    title: str
    description: str
    x_label: str
    y_label: str
    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    lines: tuple[Line, ...]
    small: bool


def look(index: int) -> tuple[str, str, str]:
    """Return colour, dashes and marker of the line of an index; no two of the first twelve are alike."""
    return COLORS[index % len(COLORS)], _DASHES[(index // len(COLORS)) % len(_DASHES)], _MARKERS[index % len(_MARKERS)]


def line_chart(
    title: str,
    y_label: str,
    x_label: str,
    series: Sequence[Series],
    x_ticks: Sequence[tuple[float, str]],
    small: bool = False,
) -> LineChart:
    """Return a chart of values from 0 to 1 over the range of `x_ticks`.

    Args:
        title: what it shows.
        y_label: name of the values.
        x_label: name of the horizontal axis.
        series: lines, in the order of which their looks follow.
        x_ticks: positions on the horizontal axis and how they are written.
        small: one of many, without names at the ends of lines.
    """
    width, height = (300.0, 210.0) if small else (680.0, 360.0)
    left, right = (38.0, width - 10) if small else (52.0, width - 150)
    top, bottom = 12.0, height - (40 if small else 48)
    low, high = x_ticks[0][0], x_ticks[-1][0]

    def across(x: float) -> float:
        return round(left + (x - low) / ((high - low) or 1) * (right - left), 1)

    def down(y: float) -> float:
        return round(bottom - y * (bottom - top), 1)

    ends = _spread([down(one.points[-1].y) if one.points else math.inf for one in series], top, bottom)
    lines = []
    for index, one in enumerate(series):
        color, dash, marker = look(index)
        with_band = [p for p in one.points if p.lower is not None and p.upper is not None]
        upper = [(across(p.x), down(p.upper or 0.0)) for p in with_band]
        lower = [(across(p.x), down(p.lower or 0.0)) for p in reversed(with_band)]
        names = dict(x_ticks)
        marks = tuple(
            Mark(across(p.x), down(p.y), _text(one.name, y_label, f"{x_label} {names.get(p.x, p.x)}", p))
            for p in one.points
        )
        path = _path([(mark.x, mark.y) for mark in marks])
        band = _path(upper + lower) + "z" if len(with_band) > 1 else ""
        lines.append(Line(one.name, color, dash, marker, path, band, marks, ends[index]))
    return LineChart(
        title=title,
        description=_description(series, x_label, dict(x_ticks)),
        x_label=x_label,
        y_label=y_label,
        width=width,
        height=height,
        left=left,
        right=right,
        top=top,
        bottom=bottom,
        x_ticks=tuple((across(x), text) for x, text in x_ticks),
        y_ticks=tuple((down(y / 5), f"{y / 5:.1f}") for y in range(6)),
        lines=tuple(lines),
        small=small,
    )


def _text(name: str, y_label: str, where: str, point: Point) -> str:
    interval = f", 95 % interval {wording.interval(point)}" if point.lower is not None else ""
    return f"{name}, {where}: {y_label.lower()} {wording.number(point.y)}{interval}, {point.note}"


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g},{y:g}" for x, y in points) if points else ""


def _spread(positions: Sequence[float], top: float, bottom: float) -> list[float]:
    """Return the positions moved apart, so that labels do not cover each other."""
    order = sorted(range(len(positions)), key=lambda index: positions[index])
    placed = dict[int, float]()
    last = top - _LABEL_HEIGHT
    for index in order:
        last = max(min(positions[index], bottom), last + _LABEL_HEIGHT)
        placed[index] = last
    too_low = last - bottom
    if too_low > 0:
        limit = bottom
        for index in reversed(order):
            placed[index] = min(placed[index], limit)
            limit = placed[index] - _LABEL_HEIGHT
    return [round(placed[index], 1) for index in range(len(positions))]


def _description(series: Sequence[Series], x_label: str, names: dict[float, str]) -> str:
    parts = []
    for one in series:
        if one.points:
            first, last = one.points[0], one.points[-1]
            start, end = names.get(first.x, f"{first.x:g}"), names.get(last.x, f"{last.x:g}")
            ends = f"{wording.number(first.y)} at {x_label} {start} to {wording.number(last.y)} at {end}"
            parts.append(f"{one.name}: from {ends}")
    return "; ".join(parts)
