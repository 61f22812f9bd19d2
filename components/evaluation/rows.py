"""Rows of the tables of an evaluation; see `schemas.schema_of`. Epsilons are in 1/255."""

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
class RiskCoverage:
    """Point of a risk-coverage curve.

    Attributes:
        model: name of the model.
        attack: "none" for clean images, or "worst_case".
        epsilon: budget in 1/255.
        coverage: share of the images that are accepted: those of the highest confidence.
        threshold: least confidence of them.
        risk: share of them that are misclassified; `lower` and `upper` are its 95 % interval.
        n: number of accepted images.
    """

    model: str
    attack: str
    epsilon: float
    coverage: float
    threshold: float
    risk: float
    lower: float
    upper: float
    n: int


@dataclass(frozen=True)
class Comparison:
    """Paired comparison on the same images; `change` is the model's value minus the baseline's.

    `p_adjusted` is the p-value after Holm (1979), over all rows of the table.
    """

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
    """Image whose right class an attack changed: names of classes, their probabilities, and PNG files."""

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


@dataclass(frozen=True)
class StoredImages:
    """Result of reading the adversarial images of a shard again.

    Attributes:
        model, attack, epsilon, shard: place of the images.
        images: number of images.
        outside: number of images that are outside their budget or missing.
        farthest: largest distance from a clean image, in 1/255.
    """

    model: str
    attack: str
    epsilon: float
    shard: int
    images: int
    outside: int
    farthest: float
