"""Threat models beyond a norm: the images that a transformation makes of a clean one, up to a strength."""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from dermrobust.attacks.transforms.combined import Combined
from dermrobust.attacks.transforms.registry import TRANSFORMS
from dermrobust.attacks.transforms.transform import Transform

_TEXT = re.compile(r"\s*([a-z+]+)\s*:\s*([0-9.eE+-]+)\s*")
_EXAMPLES = "'colour:1', 'geometry:0.5', 'colour+geometry:1' or 'patch:0.05'"


@dataclass(frozen=True)
class TransformThreat:
    """The images that an attacker may choose: those that a transformation makes of a clean image.

    Attributes:
        family: name of a transformation, or of several with "+" between them, which are applied in this order.
        strength: share of the reach of every parameter, above 0 and at most 1; for a patch its share of the image.
    """

    family: str
    strength: float

    def __post_init__(self) -> None:
        """Refuse an unknown family, or a strength that it is not defined for."""
        self.transform.check_strength(self.strength)

    @classmethod
    def parse(cls, text: str) -> TransformThreat:
        """Return the threat model of a text: "colour:1", "geometry:0.5", "colour+geometry:1" or "patch:0.05".

        Raises:
            ValueError: the text is not of that form, names no transformation, or has a strength out of range.
        """
        match = _TEXT.fullmatch(text)
        try:
            strength = float(match[2]) if match else math.nan
        except ValueError:
            strength = math.nan
        if match is None or math.isnan(strength):
            raise ValueError(f"'{text}' is no threat model; write a transformation and a strength: {_EXAMPLES}")
        return cls(match[1], strength)

    @property
    def transform(self) -> Transform:
        """The transformation."""
        return transform_of(self.family)

    def __str__(self) -> str:
        """Return the text that `parse` reads."""
        return f"{self.family}:{self.strength:.12g}"


# One object for each name: compiled steps are cached by it.
@functools.cache
def transform_of(family: str) -> Transform:
    """Return the transformation of a name, or of several names with "+" between them.

    Raises:
        ValueError: there is no such transformation, or they cannot be combined.
    """
    parts = tuple(TRANSFORMS.resolve(name)() for name in family.split("+"))
    return parts[0] if len(parts) == 1 else Combined(parts)


def is_transform(text: Any) -> bool:
    """Return whether a threat model as a config writes it names a transformation, not a norm."""
    return isinstance(text, str) and text.partition(":")[0].strip().partition("+")[0] in TRANSFORMS.names


def _read(value: Any) -> TransformThreat:
    if isinstance(value, TransformThreat):
        return value
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no threat model; write {_EXAMPLES}")
    return TransformThreat.parse(value)


AnyTransformThreat = Annotated[
    TransformThreat,
    BeforeValidator(_read),
    PlainSerializer(str),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": f"^({'|'.join(TRANSFORMS.names)})",
            "examples": ["colour:1", "geometry:0.5", "colour+geometry:1", "patch:0.05"],
        }
    ),
]
"""Threat model as a config writes it: "colour:1"."""
