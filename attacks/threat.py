"""Threat models: which images an attacker may hand in."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from attacks.errors import AttackError

PIXEL_LEVELS = 255.0

Images = npt.NDArray[np.float32]
"""float32 [batch, height, width, 3] in [0, 1]."""
Pixels = npt.NDArray[np.uint8]
"""uint8 [batch, height, width, 3], the 8-bit form in which images are stored."""


class Norm(enum.StrEnum):
    """The norm that measures a perturbation."""

    LINF = "linf"


@dataclass(frozen=True)
class ThreatModel:
    """All images within `epsilon` of the clean one in `norm`, and within [0, 1].

    Attributes:
        epsilon: budget in pixel units of 1/255, in (0, 255].
        norm: how the perturbation is measured.
    """

    epsilon: float
    norm: Norm = Norm.LINF

    def __post_init__(self) -> None:
        """Refuse a budget that no attack could use."""
        if not 0.0 < self.epsilon <= PIXEL_LEVELS:
            raise ValueError(f"epsilon is {self.epsilon}; it is measured in 1/255 and must be in (0, 255]")

    @property
    def radius(self) -> float:
        """The budget on images in [0, 1]."""
        return self.epsilon / PIXEL_LEVELS

    def to_pixels(self, adversarial: Images, clean: Pixels) -> Pixels:
        """Round adversarial images to 8 bits such that they stay inside the budget.

        Args:
            adversarial: float32 [batch, height, width, 3], what an attack returned.
            clean: uint8, the images that it started from.

        Returns:
            uint8 images within floor(epsilon) levels of the clean ones.

        Raises:
            AttackError: an image is not finite, or the attack left the budget or [0, 1] by more than float rounding.
        """
        self._check_float(adversarial, clean)
        levels = np.rint(adversarial * PIXEL_LEVELS).astype(np.int16)
        reach = np.int16(math.floor(self.epsilon + 1e-6))
        center = clean.astype(np.int16)
        return np.clip(np.clip(levels, center - reach, center + reach), 0, 255).astype(np.uint8)

    def _check_float(self, adversarial: Images, clean: Pixels) -> None:
        if not np.isfinite(adversarial).all():
            raise AttackError("the attack returned an image that is not finite (NaN or infinity)")
        excess = float(np.abs(adversarial - clean / np.float32(PIXEL_LEVELS)).max(initial=0.0)) - self.radius
        if excess > 1e-5 or adversarial.min(initial=0.0) < -1e-6 or adversarial.max(initial=0.0) > 1.0 + 1e-6:
            raise AttackError(f"the attack left the budget of {self.epsilon:g}/255 or the range [0, 1]")

    def contains(self, adversarial: Pixels, clean: Pixels) -> npt.NDArray[np.bool_]:
        """Tell for each stored image whether it lies inside the budget: bool [batch]."""
        distance = np.abs(adversarial.astype(np.int16) - clean.astype(np.int16))
        return np.asarray(distance.max(axis=(1, 2, 3)) <= self.epsilon + 1e-6)
