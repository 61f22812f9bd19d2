"""Assignment of images to the splits by a hash of their group."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from dermrobust.components.examples import Split
from dermrobust.components.image_record import ImageRecord


@dataclass(frozen=True)
class SplitFractions:
    """Fractions of the groups in the validation and the test split; the others are in the training split."""

    validation: float
    test: float
    salt: str

    def assign(self, record: ImageRecord) -> Split:
        """Return the split of a record from a salted hash of its group.

        Nothing else decides, so an image stays in its split when others are added. An image without a group counts as
        a group of its own.
        """
        # The prefix keeps an image's name apart from a group's: the two may be numbered alike.
        draw = unit_hash(self.salt, record.group or f"image:{record.image_id}")
        if draw < self.test:
            return Split.TEST
        return Split.VALIDATION if draw < self.test + self.validation else Split.TRAIN


def unit_hash(salt: str, key: str) -> float:
    """Return a number in [0, 1) that depends on salt and key alone."""
    # Python's own hash() differs between processes.
    return int.from_bytes(hashlib.sha256(f"{salt}/{key}".encode()).digest()[:8], "big") / 2.0**64
