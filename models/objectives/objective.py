"""What training minimises."""

from __future__ import annotations

from typing import Protocol

import keras
import tensorflow as tf


class Objective(Protocol):
    """A loss on a batch; defences differ from standard training in this function alone."""

    def __call__(
        self, network: keras.Model, images: tf.Tensor, labels: tf.Tensor, class_weights: tf.Tensor, seed: tf.Tensor
    ) -> tf.Tensor:
        """Return the loss, a scalar.

        Args:
            network: from images to logits; called with `training=True` where batch statistics are to be learnt.
            images: float32 [batch, height, width, 3] in [0, 1].
            labels: int64 [batch].
            class_weights: float32 [class_count]; the mean over the training images is 1.
            seed: int32 [2], for stateless random numbers; another one for each step.
        """
