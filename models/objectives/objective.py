"""Interface of training objectives."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


class Objective(BaseModel):
    """Loss on a batch, and the adversarial images that it is computed on; the fields are its parameters.

    Defenses differ from standard training in these methods alone. Each subclass declares a field
    `objective: Literal[...]`, its name in a config. TensorFlow is imported inside methods, so that configs are checked
    without it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    adversarial: ClassVar[bool] = False
    """Whether the class is an `AdversarialObjective`, which has a threat model."""
    takes_probabilities: ClassVar[bool] = True
    """Whether `loss` is defined for probabilities in the place of labels, as distillation needs it."""

    def radius(self, epochs: float) -> float:
        """Return the budget on images in [0, 1] after a (fractional) number of epochs; 0 for standard training."""
        del epochs
        return 0.0

    def craft(
        self, network: keras.Model, images: tf.Tensor, labels: tf.Tensor, radius: tf.Tensor, seed: tf.Tensor
    ) -> tf.Tensor:
        """Return the adversarial images that `loss` gets; here the images unchanged.

        Called in a `tf.function`, outside of any gradient tape. The network runs with `training=False`.

        Args:
            network: From images to logits.
            images: float32 [batch, height, width, 3] in [0, 1].
            labels: int64 [batch].
            radius: Present budget on images in [0, 1], a float32 scalar, or [batch, 1, 1, 1]: one for each image.
            seed: int32 [2], for stateless random numbers; different in each step.
        """
        del network, labels, radius, seed
        return images

    def loss(
        self,
        network: keras.Model,
        images: tf.Tensor,
        adversarial: tf.Tensor,
        labels: tf.Tensor,
        class_weights: tf.Tensor,
        seed: tf.Tensor,
    ) -> tf.Tensor:
        """Return the loss, a scalar: here the class-weighted cross-entropy on the images that `craft` returned.

        The network runs with `training=True`, so that it learns batch statistics.

        Args:
            network: From images to logits.
            images: float32 [batch, height, width, 3] in [0, 1].
            adversarial: Adversarial images that `craft` returned, of the same shape.
            labels: int64 [batch], or probabilities that a teacher softened, float32 [batch, class_count]; see
                `dermrobust.models.objectives.losses`.
            class_weights: float32 [class_count]; the mean over the drawn images is 1.
            seed: int32 [2], the same as in `craft`.
        """
        from dermrobust.models.objectives.losses import cross_entropy, weighted_mean

        del images, seed
        return weighted_mean(cross_entropy(labels, network(adversarial, training=True)), labels, class_weights)
