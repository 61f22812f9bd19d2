"""Adversarial training with FGSM and PGD together (arXiv 2212.06822)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dermrobust.models.objectives.adversarial import IterativeObjective

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


class Mixed(IterativeObjective):
    """FGSM for half of each batch and PGD for the other half: the third defense of arXiv 2212.06822.

    The first half by position gets FGSM (one step of the radius from the clean image, Goodfellow et al. 2015,
    arXiv 1412.6572). Batches are shuffled, so over the epochs every image gets both. An odd image gets PGD.
    """

    objective: Literal["mixed"] = Field("mixed", description="FGSM for half of a batch, PGD for the other half.")

    def craft(
        self, network: keras.Model, images: tf.Tensor, labels: tf.Tensor, radius: tf.Tensor, seed: tf.Tensor
    ) -> tf.Tensor:
        """See `Objective.craft`."""
        import tensorflow as tf

        from dermrobust.models.objectives.crafting import ascend

        half = tf.shape(images)[0] // 2
        # One budget for all images, or one for each.
        first, second = (radius, radius) if radius.shape.rank == 0 else (radius[:half], radius[half:])
        once, often = self.ball(images[:half], first), self.ball(images[half:], second)
        single = ascend(network, once, images[:half], labels[:half], step_length=first, steps=1)
        start, length = often.random_point(seed), self.step_length(second)
        several = ascend(network, often, start, labels[half:], step_length=length, steps=self.steps)
        # Slices by a computed half lose the static shape of the batch.
        return tf.ensure_shape(tf.concat([single, several], axis=0), images.shape)
