"""What every attack is: a named set of parameters that turns images into adversarial ones."""

from __future__ import annotations

import abc
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from attacks.target import Target
from attacks.threat import Images, ThreatModel

Labels = npt.NDArray[np.int64]
"""int64 [batch], the true classes."""
Seeds = npt.NDArray[np.uint64]
"""uint64 [batch], one for each image, so that randomness does not depend on how images were batched."""


class Attack(BaseModel, abc.ABC):
    """An untargeted attack; its fields are its parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    iterative: ClassVar[bool] = False

    @abc.abstractmethod
    def perturb(self, target: Target, images: Images, labels: Labels, threat: ThreatModel, seeds: Seeds) -> Images:
        """Return adversarial images: float32 [batch, height, width, 3], inside the threat model of the clean ones."""
