"""Rows of the tables of an evaluation, typed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Place(NamedTuple):
    """Where a figure was measured; epsilon is in 1/255."""

    model: str
    attack: str
    epsilon: float
    slice: str
    metric: str


@dataclass(frozen=True)
class Figure:
    """A measured number.

    Attributes:
        value: the metric.
        n: images it was measured on.
        lower, upper: 95 % interval; None where there is none.
        small: whether n is below the smallest slice that may gate.
    """

    value: float
    n: int
    lower: float | None = None
    upper: float | None = None
    small: bool = False

    @property
    def has_interval(self) -> bool:
        """Whether the uncertainty is known."""
        return self.lower is not None and self.upper is not None


@dataclass(frozen=True)
class Corruption:
    """A metric under a natural corruption (noise, blur, JPEG ...) of a severity from 1 to 5."""

    model: str
    corruption: str
    severity: int
    metric: str
    value: float
    n: int
    lower: float | None
    upper: float | None


@dataclass(frozen=True)
class Comparison:
    """A paired comparison on the same images; see `schemas.COMPARISONS_SCHEMA`."""

    model: str
    baseline: str
    attack: str
    epsilon: float
    slice: str
    metric: str
    n: int
    change: float
    lower: float | None
    upper: float | None
    p_value: float | None
    p_adjusted: float | None
    significant: bool


@dataclass(frozen=True)
class Flip:
    """An image whose class an attack changed; see `schemas.FLIPS_SCHEMA`."""

    model: str
    attack: str
    epsilon: float
    image_id: str
    truth: str
    predicted_before: str
    predicted_after: str
    p_before: float
    p_after: float
    danger: int
    clean: bytes
    adversarial: bytes
