"""Threat models: which images an attacker may hand in."""

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

PIXEL_LEVELS = 255.0

Images = npt.NDArray[np.float32]
"""float32 [batch, height, width, 3] in [0, 1]."""
Pixels = npt.NDArray[np.uint8]
"""uint8 [batch, height, width, 3], the 8-bit form in which images are stored."""

_TEXT = re.compile(r"\s*(linf|l2)\s*:\s*([0-9.eE+-]+)\s*(/\s*255)?\s*")
_ROUNDING = 1e-5
"""What float32 arithmetic may add to a distance on images in [0, 1], relative to its size where that is above 1."""


class Norm(enum.StrEnum):
    """The norm that measures a perturbation."""

    LINF = "linf"
    L2 = "l2"

    @property
    def order(self) -> float:
        """As NumPy and CleverHans name it."""
        return math.inf if self is Norm.LINF else 2


@dataclass(frozen=True)
class Bounds:
    """The values that a pixel of an image may take: those of a stored 8-bit image, 0 to 255, are spread over them."""

    lower: float = 0.0
    upper: float = 1.0

    def __post_init__(self) -> None:
        """Refuse bounds between which there is nothing."""
        if not (math.isfinite(self.lower) and math.isfinite(self.upper) and self.lower < self.upper):
            raise ValueError(f"the bounds of images must be finite and in order, found [{self.lower}, {self.upper}]")

    @property
    def width(self) -> float:
        """From the lower to the upper bound."""
        return self.upper - self.lower

    def to_images(self, pixels: Pixels) -> Images:
        """Return stored images as a network sees them: float32 within these bounds."""
        images = pixels.astype(np.float32) / np.float32(PIXEL_LEVELS)
        return images if self == Bounds() else np.asarray(self.lower + images * self.width, np.float32)

    def to_levels(self, images: Images) -> Images:
        """Return images on the scale of stored ones, 0 to 255, not yet rounded.

        In float32, as attacks compute: both then round a value half-way between two levels to the same one.
        """
        scaled = images if self == Bounds() else (images - np.float32(self.lower)) / np.float32(self.width)
        return np.asarray(scaled * np.float32(PIXEL_LEVELS), np.float32)


@dataclass(frozen=True)
class ThreatModel:
    """All images within `epsilon` of the clean one in `norm`, and within the bounds.

    Attributes:
        epsilon: budget in units of 1/255 of the range of values; for L2 the Euclidean length in the same unit.
        norm: how the perturbation is measured.
        bounds: the values that images may take.
    """

    epsilon: float
    norm: Norm = Norm.LINF
    bounds: Bounds = Bounds()

    def __post_init__(self) -> None:
        """Refuse a budget that no attack could use."""
        if not (math.isfinite(self.epsilon) and self.epsilon > 0):
            raise ValueError(f"epsilon is {self.epsilon}; it must be a number above 0")
        if self.norm is Norm.LINF and self.epsilon > PIXEL_LEVELS:
            raise ValueError(
                f"epsilon is {self.epsilon:g}/255, but more than 255/255 cannot change a pixel; "
                "write a budget of four levels as 'linf:4/255' or 4"
            )

    @classmethod
    def parse(cls, text: str) -> ThreatModel:
        """Read "linf:4/255", "linf:0.0157", "l2:0.5" or "l2:128/255"; without "/255" the budget is on [0, 1].

        Raises:
            ValueError: it is not of that form, or no attack could use the budget.
        """
        match = _TEXT.fullmatch(text)
        try:
            value = float(match[2]) if match else math.nan
        except ValueError:
            value = math.nan
        if match is None or math.isnan(value):
            raise ValueError(f"'{text}' is no threat model; write a norm and a budget: 'linf:4/255' or 'l2:0.5'")
        # 12 digits: 0.5 * 255 and 4 / 255 * 255 are then what was meant.
        epsilon = value if match[3] else float(f"{value * PIXEL_LEVELS:.12g}")
        return cls(epsilon, Norm(match[1]))

    def __str__(self) -> str:
        """What `parse` reads."""
        return f"{self.norm}:{self.epsilon:.12g}/255"

    @property
    def radius(self) -> float:
        """The budget on the scale of the bounds: on images in [0, 1] epsilon / 255."""
        return self.epsilon / PIXEL_LEVELS * self.bounds.width

    def storable(self, values: int) -> ThreatModel:
        """Return the part of the budget that an attack on images stored in 8 bits can use.

        For L-infinity these are whole levels. For L2 it is what leaves room for rounding, which adds an error of mean
        square 1/12 to each of an image's `values` numbers (height * width * 3): to the squared length it adds
        values / 12 and a random part of standard deviation epsilon / sqrt(3), of which three are allowed for.

        Raises:
            ValueError: not even one level fits.
        """
        levels = math.floor(self.epsilon + 1e-6)
        if levels < 1:
            raise ValueError(f"{self} is less than one level of an 8-bit image, so no stored image can be attacked")
        if self.norm is Norm.L2:
            room = values / 12 + 3 * self.epsilon / math.sqrt(3)
            # A budget so small that rounding would use up most of it is spent first and shortened when it is stored.
            left = self.epsilon**2 - room
            return self if left < room else ThreatModel(math.sqrt(left), self.norm, self.bounds)
        return ThreatModel(levels, self.norm, self.bounds)

    def distance(self, adversarial: Images, clean: Images) -> npt.NDArray[np.float64]:
        """Return the norm of each perturbation on the scale of the bounds: float64 [batch]."""
        difference = np.abs(_rows(np.asarray(adversarial, np.float64) - clean))
        if self.norm is Norm.LINF:
            return np.asarray(difference.max(axis=1, initial=0.0))
        return np.sqrt(np.square(difference).sum(axis=1))

    def check(self, adversarial: Images, clean: Images) -> None:
        """Hold an attack to its promise, but for float rounding.

        Raises:
            AttackError: an image is not finite, or is outside the budget or the bounds.
        """
        if not np.isfinite(adversarial).all():
            raise AttackError("the attack returned an image that is not finite (NaN or infinity)")
        excess = float(self.distance(adversarial, clean).max(initial=0.0)) - self.radius
        if excess > _ROUNDING * max(1.0, self.radius):
            raise AttackError(f"the attack left its budget of {self} by {excess:.3g}")
        lower, upper, width = self.bounds.lower, self.bounds.upper, self.bounds.width
        least, most = adversarial.min(initial=upper), adversarial.max(initial=lower)
        if least < lower - 1e-6 * width or most > upper + 1e-6 * width:
            raise AttackError(f"the attack left the range [{lower:g}, {upper:g}]")

    def to_pixels(self, adversarial: Images, clean: Pixels) -> Pixels:
        """Round adversarial images to 8 bits such that they stay inside the budget.

        Args:
            adversarial: float32 [batch, height, width, 3], what an attack returned.
            clean: uint8, the images that it started from.

        Returns:
            uint8 images inside the budget: for L-infinity within floor(epsilon) levels of the clean ones; for L2 the
            values that rounding moved furthest outwards are moved back until the length fits.

        Raises:
            AttackError: an image is not finite, or outside the budget or the bounds by more than float rounding.
        """
        self.check(adversarial, self.bounds.to_images(clean))
        levels = self.bounds.to_levels(adversarial)
        center = clean.astype(np.int16)
        if self.norm is Norm.LINF:
            reach = np.int16(math.floor(self.epsilon + 1e-6))
            rounded = np.clip(np.rint(levels).astype(np.int16), center - reach, center + reach)
            return np.clip(rounded, 0, 255).astype(np.uint8)
        exact = levels - center
        rounded = np.clip(np.rint(levels), 0, 255).astype(np.int16)
        shift = _shortened(_rows(rounded - center), _rows(exact), self.epsilon)
        return (center + shift.reshape(center.shape)).astype(np.uint8)

    def contains(self, adversarial: Pixels, clean: Pixels) -> npt.NDArray[np.bool_]:
        """Tell for each stored image whether it lies inside the budget: bool [batch]."""
        distance = np.abs(_rows(adversarial.astype(np.int64) - clean.astype(np.int64)))
        if self.norm is Norm.LINF:
            return np.asarray(distance.max(axis=1, initial=0) <= self.epsilon + 1e-6)
        return np.asarray(np.square(distance).sum(axis=1) <= self.epsilon**2 * (1 + 1e-9))


def _rows(images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return images as [batch, values]; of no images, too, whose number of values NumPy does not infer."""
    return images.reshape(len(images), math.prod(images.shape[1:]))


def _shortened(shift: npt.NDArray[np.int16], exact: Images, epsilon: float) -> npt.NDArray[np.int16]:
    """Move whole-level perturbations [batch, values] towards zero, a level a value, until their length fits."""
    result = shift.astype(np.int64)
    while True:
        length = np.square(result).sum(axis=1)
        outside = np.flatnonzero(length > epsilon**2 * (1 + 1e-9))
        if not len(outside):
            return result.astype(np.int16)
        for row in outside:
            values = result[row]
            overshoot = np.where(values == 0, -np.inf, np.abs(values) - np.abs(exact[row]))
            order = np.argsort(-overshoot, kind="stable")
            saved = np.cumsum((2 * np.abs(values[order]) - 1) * (values[order] != 0))
            enough = int(np.searchsorted(saved, length[row] - epsilon**2 * (1 + 1e-9))) + 1
            chosen = order[:enough]
            values[chosen] -= np.sign(values[chosen])


def _threat(value: Any) -> ThreatModel:
    if isinstance(value, ThreatModel):
        return value
    if isinstance(value, str):
        return ThreatModel.parse(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is no threat model; write 4 (L-infinity, in 1/255), 'linf:4/255' or 'l2:0.5'")
    return ThreatModel(float(value))


Threat = Annotated[
    ThreatModel,
    BeforeValidator(_threat),
    PlainSerializer(str),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0, "maximum": 255},
                {"type": "string", "pattern": "^(linf|l2):", "examples": ["linf:4/255", "l2:0.5"]},
            ]
        }
    ),
]
"""A threat model as a config writes it: 4 (L-infinity, in 1/255), "linf:4/255", "l2:0.5"."""
