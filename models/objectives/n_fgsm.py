"""N-FGSM (de Jorge et al. 2022, arXiv 2202.01181)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dermrobust.models.objectives.adversarial import AdversarialObjective

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


class NFGSM(AdversarialObjective):
    """One gradient step from strong noise, without projection into the budget (de Jorge et al. 2022, arXiv 2202.01181).

    Noise and step together may leave the budget. De Jorge et al. report that catastrophic overfitting does not occur
    when images are not projected back.
    """

    objective: Literal["n_fgsm"] = Field("n_fgsm", description="FGSM from strong noise (de Jorge et al. 2022).")
    noise: float = Field(2.0, ge=0, le=10, description="Bound of the uniform noise, in budgets; published: 2.")
    step: float = Field(1.0, gt=0, le=10, description="Length of the gradient step, in budgets; published: 1.")

    def craft(
        self, network: keras.Model, images: tf.Tensor, labels: tf.Tensor, radius: tf.Tensor, seed: tf.Tensor
    ) -> tf.Tensor:
        """See `Objective.craft`."""
        from dermrobust.models.objectives.crafting import ascend

        # A ball that holds noise and step, so that projection only clips to [0, 1].
        reach = self.ball(images, (self.noise + self.step) * radius)
        start = self.ball(images, self.noise * radius).random_point(seed)
        return ascend(network, reach, start, labels, step_length=self.step * radius, steps=1)
