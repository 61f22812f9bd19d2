"""Threat models: norms, budgets and bounds of adversarial images, also of those stored in 8 bits."""

from __future__ import annotations

import enum
import math
import re
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from dermrobust.attacks.errors import AttackError
from dermrobust.attacks.shortening import SQUARED, shortened

PIXEL_LEVELS = 255.0
"""Largest value of an 8-bit image."""

Images = npt.NDArray[np.float32]
"""float32 [batch, height, width, 3] in [0, 1]."""
Pixels = npt.NDArray[np.uint8]
"""uint8 [batch, height, width, 3], the 8-bit form in which images are stored."""

_TEXT = re.compile(r"\s*(linf|l2|l1|l0)\s*:\s*([0-9.eE+-]+)\s*(/\s*255)?\s*")
_ROUNDING = 1e-5
"""Error that float32 arithmetic may add to a distance: absolute on images in [0, 1], relative to a radius above 1."""
_WHOLE = 1e-6
"""Tolerance of a budget in levels: 0.015686274 on [0, 1] means four of them and is 3.99999987."""
_SPARSE_LEVELS = 8
"""Mean change of a value by an attack under L1, at least; it only decides how much of a budget is left for rounding."""


class Norm(enum.StrEnum):
    """Norm of a perturbation."""

    LINF = "linf"
    """Largest change of a value."""
    L2 = "l2"
    """Euclidean length of the change."""
    L1 = "l1"
    """Sum of the sizes of all changes."""
    L0 = "l0"
    """Number of pixels of which any channel changes, as Croce et al. 2022 (arXiv 2006.12834) count; not a norm in the
    strict sense."""

    @property
    def order(self) -> float:
        """The norm's order, as NumPy and CleverHans take it; NumPy's 0 counts values, not pixels."""
        return {Norm.LINF: math.inf, Norm.L2: 2, Norm.L1: 1, Norm.L0: 0}[self]

    def written(self, epsilon: float) -> str:
        """Return a budget as messages and tables write it: "4/255", and for L0 "24 px"."""
        return f"{epsilon:g} px" if self is Norm.L0 else f"{epsilon:g}/255"


@dataclass(frozen=True)
class Bounds:
    """Range of the values of images. The levels 0 to 255 of an 8-bit image are spread over it linearly."""

    lower: float = 0.0
    upper: float = 1.0

    def __post_init__(self) -> None:
        """Refuse an empty or infinite range."""
        if not (math.isfinite(self.lower) and math.isfinite(self.upper) and self.lower < self.upper):
            raise ValueError(f"the bounds of images must be finite and in order, found [{self.lower}, {self.upper}]")

    @property
    def width(self) -> float:
        """Difference of the bounds."""
        return self.upper - self.lower

    def to_images(self, pixels: Pixels) -> Images:
        """Return 8-bit images as float32 images within these bounds."""
        # On [0, 1] without the sum and the product, which could round differently.
        images = pixels.astype(np.float32) / np.float32(PIXEL_LEVELS)
        return images if self == Bounds() else np.asarray(self.lower + images * self.width, np.float32)

    def to_levels(self, images: Images) -> Images:
        """Return images on the scale of 8-bit images, 0 to 255, not yet rounded: float32, like images."""
        # In float32, as attacks compute: both then round a value half-way between two levels to the same level.
        scaled = images if self == Bounds() else (images - np.float32(self.lower)) / np.float32(self.width)
        return np.asarray(scaled * np.float32(PIXEL_LEVELS), np.float32)


@dataclass(frozen=True)
class ThreatModel:
    """The images that an attacker may choose: within `epsilon` of the clean one in `norm`, and within the bounds.

    Attributes:
        epsilon: budget in 1/255 of the range of values, for L2 and L1 the length in the same unit; for L0 the number of
            pixels.
        norm: norm of the perturbation.
        bounds: range of the values of images.
    """

    epsilon: float
    norm: Norm = Norm.LINF
    bounds: Bounds = Bounds()

    def __post_init__(self) -> None:
        """Refuse a budget that is not positive and finite, larger than the range of values, or no count of pixels."""
        if not (math.isfinite(self.epsilon) and self.epsilon > 0):
            raise ValueError(f"epsilon is {self.epsilon}; it must be a number above 0")
        if self.norm is Norm.L0 and self.epsilon != math.floor(self.epsilon):
            raise ValueError(f"epsilon is {self.epsilon:g}; l0 counts pixels, so it must be a whole number: 'l0:24'")
        if self.norm is Norm.LINF and self.epsilon > PIXEL_LEVELS:
            raise ValueError(
                f"epsilon is {self.epsilon:g}/255, but more than 255/255 cannot change a pixel; "
                "write a budget of four levels as 'linf:4/255' or 4"
            )

    @classmethod
    def parse(cls, text: str) -> ThreatModel:
        """Return the threat model of a text: "linf:4/255", "linf:0.0157", "l2:0.5", "l2:128/255", "l1:12" or "l0:24".

        Without "/255" the budget is on [0, 1]; for L0 it is a number of pixels.

        Raises:
            ValueError: the text is not of that form, or the budget is not positive and finite, or too large.
        """
        match = _TEXT.fullmatch(text)
        try:
            value = float(match[2]) if match else math.nan
        except ValueError:
            value = math.nan
        if match is None or math.isnan(value):
            raise ValueError(
                f"'{text}' is no threat model; write a norm and a budget: 'linf:4/255', 'l2:0.5', 'l1:12' or 'l0:24'"
            )
        norm = Norm(match[1])
        if norm is Norm.L0 and match[3]:
            raise ValueError(
                f"'{text}' is no threat model: l0 counts pixels, which have no unit; write 'l0:{match[2]}'"
            )
        # Rounded to 12 digits, so that the product is 4 for a budget written as 4 / 255 with all its digits.
        levels = match[3] or norm is Norm.L0
        return cls(value if levels else float(f"{value * PIXEL_LEVELS:.12g}"), norm)

    def __str__(self) -> str:
        """Return the text that `parse` reads."""
        return f"{self.norm}:{self.epsilon:.12g}" + ("" if self.norm is Norm.L0 else "/255")

    @property
    def radius(self) -> float:
        """Budget on the scale of the images: epsilon / 255 on images in [0, 1]; for L0 the number of pixels."""
        return self.epsilon if self.norm is Norm.L0 else self.epsilon / PIXEL_LEVELS * self.bounds.width

    def storable(self, values: int) -> ThreatModel:
        """Return the part of the budget that an attack can use if its images are stored in 8 bits.

        For L-infinity these are whole levels. For L2 and L1 it is shorter by what rounding may add. For L0 it is all of
        it: rounding changes no further pixel.

        Args:
            values: number of values of an image: height * width * 3.

        Raises:
            ValueError: the budget is less than one level.
        """
        levels = math.floor(self.epsilon + _WHOLE)
        if levels < 1:
            raise ValueError(f"{self} is less than one level of an 8-bit image, so no stored image can be attacked")
        if self.norm is Norm.L0:
            return self
        if self.norm is Norm.L1:
            # Changes are as often rounded away from zero as towards it, so their sum has a mean error of zero, and a
            # variance of 1/12 for each changed value. Attacks under L1 change few values by much: with 8 levels or more
            # each, three standard deviations leave about one image in a thousand for `to_pixels` to shorten.
            room = 3 * math.sqrt(min(values, self.epsilon / _SPARSE_LEVELS) / 12)
            return self if self.epsilon < 2 * room else ThreatModel(self.epsilon - room, self.norm, self.bounds)
        if self.norm is Norm.L2:
            # A rounding error has mean square 1/12. Over all values they add values / 12 to the squared length, and a
            # random part, twice their product with the perturbation, whose standard deviation is epsilon / sqrt(3).
            # Three of these leave about one image in a thousand for `to_pixels` to shorten.
            room = values / 12 + 3 * self.epsilon / math.sqrt(3)
            # Where rounding would use up most of the budget, the whole budget is used and `to_pixels` shortens all.
            left = self.epsilon**2 - room
            return self if left < room else ThreatModel(math.sqrt(left), self.norm, self.bounds)
        return ThreatModel(levels, self.norm, self.bounds)

    def distance(self, adversarial: Images, clean: Images) -> npt.NDArray[np.float64]:
        """Return the norm of each perturbation on the scale of the images, for L0 in pixels: float64 [batch]."""
        change = np.asarray(adversarial, np.float64) - clean
        if self.norm is Norm.L0:
            return _changed_pixels(change).astype(np.float64)
        difference = np.abs(_rows(change))
        if self.norm is Norm.LINF:
            return np.asarray(difference.max(axis=1, initial=0.0))
        if self.norm is Norm.L1:
            return np.asarray(difference.sum(axis=1))
        return np.sqrt(np.square(difference).sum(axis=1))

    def check(self, adversarial: Images, clean: Images) -> None:
        """Refuse images outside of the budget or the bounds by more than float rounding.

        Raises:
            AttackError: an image is outside, or not finite.
        """
        # First, because every comparison with NaN is false and would pass.
        if not np.isfinite(adversarial).all():
            raise AttackError("the attack returned an image that is not finite (NaN or infinity)")
        excess = float(self.distance(adversarial, clean).max(initial=0.0)) - self.radius
        if excess > self._rounding_error(math.prod(adversarial.shape[1:])):
            raise AttackError(f"the attack left its budget of {self} by {excess:.3g}")
        lower, upper, width = self.bounds.lower, self.bounds.upper, self.bounds.width
        least, most = adversarial.min(initial=upper), adversarial.max(initial=lower)
        if least < lower - 1e-6 * width or most > upper + 1e-6 * width:
            raise AttackError(f"the attack left the range [{lower:g}, {upper:g}]")

    def _rounding_error(self, values: int) -> float:
        """Return how much longer a perturbation of so many values can become by float32 arithmetic and storage.

        On bounds of 0 to 255 a value near the upper one is stored to within 8e-6, in the unit of the budget. Pixels are
        counted without error.
        """
        if self.norm is Norm.L0:
            return 0.0
        spacing = float(np.spacing(np.float32(max(abs(self.bounds.lower), abs(self.bounds.upper)))))
        stored = spacing / 2 * {Norm.LINF: 1.0, Norm.L2: math.sqrt(values), Norm.L1: values}[self.norm]
        return _ROUNDING * max(1.0, self.radius) + stored

    def to_pixels(self, adversarial: Images, clean: Pixels) -> Pixels:
        """Return adversarial images rounded to 8 bits inside the budget.

        Args:
            adversarial: float32 [batch, height, width, 3], the result of an attack.
            clean: uint8, the images that the attack started from.

        Returns:
            uint8 images inside the budget. For L-infinity they are within floor(epsilon) levels of the clean ones. For
            L2 and L1 the values that rounding moved furthest outwards are moved back until the length fits.

        Raises:
            AttackError: an image is not finite, or outside the budget or the bounds by more than float rounding.
        """
        self.check(adversarial, self.bounds.to_images(clean))
        levels = self.bounds.to_levels(adversarial)
        center = clean.astype(np.int16)
        if self.norm is Norm.LINF:
            reach = np.int16(math.floor(self.epsilon + _WHOLE))
            rounded = np.clip(np.rint(levels).astype(np.int16), center - reach, center + reach)
            return np.clip(rounded, 0, 255).astype(np.uint8)
        exact = levels - center
        rounded = np.clip(np.rint(levels), 0, 255).astype(np.int16)
        if self.norm is Norm.L0:
            return rounded.astype(np.uint8)
        shift = shortened(_rows(rounded - center), _rows(exact), self._limit, power=int(self.norm.order))
        return (center + shift.reshape(center.shape)).astype(np.uint8)

    def contains(self, adversarial: Pixels, clean: Pixels) -> npt.NDArray[np.bool_]:
        """Return which 8-bit images lie inside the budget: bool [batch]."""
        # In int64: squares of int16 levels overflow, and their sum is exact.
        change = adversarial.astype(np.int64) - clean.astype(np.int64)
        if self.norm is Norm.L0:
            return np.asarray(_changed_pixels(change) <= self.epsilon)
        distance = np.abs(_rows(change))
        if self.norm is Norm.LINF:
            return np.asarray(distance.max(axis=1, initial=0) <= self.epsilon + _WHOLE)
        return np.asarray((distance ** int(self.norm.order)).sum(axis=1) <= self._limit)

    @property
    def _limit(self) -> float:
        """Largest sum of the sizes (L1) or squares (L2) of changes in levels, which are whole numbers."""
        return self.epsilon**2 * SQUARED if self.norm is Norm.L2 else self.epsilon + _WHOLE


def _rows(images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return images as [batch, values]."""
    # Not reshape(len, -1): NumPy infers no size where there are no images.
    return images.reshape(len(images), math.prod(images.shape[1:]))


def _changed_pixels(change: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the number of pixels of which any channel changes: int64 [batch]."""
    return np.asarray(_rows((change != 0).any(axis=-1)).sum(axis=1))


def _threat(value: Any) -> ThreatModel:
    if isinstance(value, ThreatModel):
        return value
    if isinstance(value, str):
        return ThreatModel.parse(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(
            f"{value!r} is no threat model; write 4 (L-infinity, in 1/255), 'linf:4/255', 'l2:0.5', 'l1:12' or 'l0:24'"
        )
    return ThreatModel(float(value))


Threat = Annotated[
    ThreatModel,
    BeforeValidator(_threat),
    PlainSerializer(str),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0, "maximum": 255},
                {
                    "type": "string",
                    "pattern": "^(linf|l2|l1|l0):",
                    "examples": ["linf:4/255", "l2:0.5", "l1:12", "l0:24"],
                },
            ]
        }
    ),
]
"""Threat model as a config writes it: 4 (L-infinity, in 1/255), "linf:4/255", "l2:0.5", "l1:12", "l0:24"."""
