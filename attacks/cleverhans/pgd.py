"""Projected gradient descent."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from attacks.attack import Attack, Labels, Seeds
from attacks.target import Target
from attacks.threat import PIXEL_LEVELS, Images, ThreatModel


class PGD(Attack):
    """Repeated gradient-sign steps, each projected back into the budget (Madry et al. 2018, arXiv 1706.06083)."""

    iterative: ClassVar[bool] = True

    attack: Literal["pgd"] = "pgd"
    steps: int = Field(20, ge=1, le=10_000, description="Gradient steps.")
    step_size: float | None = Field(
        None,
        gt=0,
        le=PIXEL_LEVELS,
        description="Length of a step in 1/255; null: 2.5 * epsilon / steps (Madry et al.).",
    )
    random_start: bool = Field(True, description="Start from a uniformly random point of the budget.")

    def perturb(self, target: Target, images: Images, labels: Labels, threat: ThreatModel, seeds: Seeds) -> Images:
        """See `Attack.perturb`."""
        from attacks.cleverhans.gradient_step import gradient_steps

        start = random_start(images, threat, seeds) if self.random_start else images
        return gradient_steps(
            target, images, start, labels, radius=threat.radius, step_size=self._step_size(threat), steps=self.steps
        )

    def _step_size(self, threat: ThreatModel) -> float:
        """On images in [0, 1]; never longer than the budget, which CleverHans refuses too."""
        epsilon = threat.epsilon
        return min(epsilon, self.step_size or 2.5 * epsilon / self.steps) / PIXEL_LEVELS


def random_start(images: Images, threat: ThreatModel, seeds: Seeds) -> Images:
    """Return uniformly random points of the budget around images, each drawn from the seed of its image alone."""
    noise = np.empty_like(images)
    for index, seed in enumerate(seeds):
        noise[index] = np.random.Generator(np.random.Philox(key=seed)).random(images.shape[1:], dtype=np.float32)
    return np.clip(images + (2.0 * noise - 1.0) * np.float32(threat.radius), 0.0, 1.0)
