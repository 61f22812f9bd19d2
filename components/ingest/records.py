"""A record before its image is read: metadata, and where the image is."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

from dermrobust.components.examples import Split

_UNKNOWN = "unknown"


@dataclass(frozen=True)
class LesionRecord:
    """One row of a data set's metadata.

    Attributes:
        image_id: unique name of the image.
        lesion_id: the lesion that it shows; empty when unknown.
        dx: the class's name as the data set gives it.
        age: in years; NaN when unknown.
        sex: 'male', 'female' or 'unknown'.
        localization: where on the body.
        locator: what the image source needs to find the image.
    """

    image_id: str
    lesion_id: str
    dx: str
    age: float = math.nan
    sex: str = _UNKNOWN
    localization: str = _UNKNOWN
    locator: str = ""


@dataclass(frozen=True)
class SplitFractions:
    """Shares of lesions in validation and test; the rest trains."""

    validation: float
    test: float
    salt: str

    def assign(self, record: LesionRecord) -> Split:
        """Return the split of a record from a salted hash of its lesion.

        It depends on nothing else, so it stays when images are added. An image without a lesion id counts as a lesion
        of its own.
        """
        draw = unit_hash(self.salt, record.lesion_id or f"image:{record.image_id}")
        if draw < self.test:
            return Split.TEST
        return Split.VALIDATION if draw < self.test + self.validation else Split.TRAIN


def unit_hash(salt: str, key: str) -> float:
    """Return a number in [0, 1) that depends on salt and key alone."""
    return int.from_bytes(hashlib.sha256(f"{salt}/{key}".encode()).digest()[:8], "big") / 2.0**64
