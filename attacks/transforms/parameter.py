"""Parameters of image transformations."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Parameter:
    """A number that an attacker chooses. At 0 it changes nothing.

    Attributes:
        name: name in records of adversarial images.
        reach: largest absolute value, at strength 1.
        meaning: effect and unit.
        source: origin of the reach.
        scaled: whether the strength of the threat scales the reach; False: the whole reach at any strength.
    """

    name: str
    reach: float
    meaning: str
    source: str
    scaled: bool = True
