"""What training minimises."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


class Objective(BaseModel, abc.ABC):
    """A loss on a batch, and the images that it is taken on; its fields are its parameters.

    Defences differ from standard training in these methods alone. Each subclass declares a field
    `objective: Literal[...]`, its name in a config. TensorFlow is imported inside methods: configs are checked without.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    adversarial: ClassVar[bool] = False
    """Whether it is an `AdversarialObjective`, with a threat model to be robust against."""

    def radius(self, epochs: float) -> float:
        """Return the budget on images in [0, 1] after so many epochs (with a fraction); 0 for standard training."""
        del epochs
        return 0.0

    def craft(
        self, network: keras.Model, images: tf.Tensor, labels: tf.Tensor, radius: tf.Tensor, seed: tf.Tensor
    ) -> tf.Tensor:
        """Return the images that `loss` gets as adversarial; here the images as they are.

        A computation of a `tf.function`, outside of any gradient tape. The network runs with `training=False`.

        Args:
            network: from images to logits.
            images: float32 [batch, height, width, 3] in [0, 1].
            labels: int64 [batch].
            radius: the present budget, a float32 scalar on images in [0, 1].
            seed: int32 [2], for stateless random numbers; another one for each step.
        """
        del network, labels, radius, seed
        return images

    @abc.abstractmethod
    def loss(
        self,
        network: keras.Model,
        images: tf.Tensor,
        adversarial: tf.Tensor,
        labels: tf.Tensor,
        class_weights: tf.Tensor,
        seed: tf.Tensor,
    ) -> tf.Tensor:
        """Return the loss, a scalar; the network runs with `training=True`, so that it learns batch statistics.

        Args:
            network: from images to logits.
            images: float32 [batch, height, width, 3] in [0, 1].
            adversarial: what `craft` made of them.
            labels: int64 [batch].
            class_weights: float32 [class_count]; the mean over the images that are drawn is 1.
            seed: int32 [2], the one that `craft` got.
        """
