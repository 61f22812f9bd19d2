"""Fast adversarial training (Wong, Rice & Kolter 2020, arXiv 2001.03994)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dermrobust.models.objectives.adversarial import AdversarialObjective

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

STEP = 1.25
"""Length of the step in radii; longer ones overfit catastrophically (Wong et al. 2020, section 4.2)."""


class Fast(AdversarialObjective):
    """One gradient step from a random start (Wong, Rice & Kolter 2020, arXiv 2001.03994).

    It may overfit catastrophically to its single step from one epoch to the next; training stops in that case.
    """

    objective: Literal["fast"] = Field("fast", description="FGSM from a random start (Wong et al. 2020).")

    def craft(
        self, network: keras.Model, images: tf.Tensor, labels: tf.Tensor, radius: tf.Tensor, seed: tf.Tensor
    ) -> tf.Tensor:
        """See `Objective.craft`."""
        from dermrobust.models.objectives.crafting import ascend

        ball = self.ball(images, radius)
        return ascend(network, ball, ball.random_point(seed), labels, step_length=STEP * radius, steps=1)
