"""Standard training: cross-entropy on clean images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dermrobust.models.objectives.objective import Objective

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


class CrossEntropy(Objective):
    """Class-weighted cross-entropy on clean images."""

    objective: Literal["cross_entropy"] = Field("cross_entropy", description="Standard training.")

    def loss(
        self,
        network: keras.Model,
        images: tf.Tensor,
        adversarial: tf.Tensor,
        labels: tf.Tensor,
        class_weights: tf.Tensor,
        seed: tf.Tensor,
    ) -> tf.Tensor:
        """See `Objective.loss`."""
        from dermrobust.models.objectives import losses

        del adversarial, seed
        return losses.weighted_mean(losses.cross_entropy(labels, network(images, training=True)), labels, class_weights)
