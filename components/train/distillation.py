"""Distillation: a teacher's predictions for clean images soften the labels of training.

Adversarial training from a teacher that was trained on clean images keeps more of its accuracy (Goldblum et al. 2020,
arXiv 1905.09747; Cui et al. 2021, arXiv 2011.11164).
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
import tensorflow as tf


@dataclass(frozen=True)
class Teacher:
    """Trained network whose predictions soften labels.

    Attributes:
        network: From images to logits.
        share: Share of its predictions in the targets, in (0, 1].
    """

    network: keras.Model
    share: float

    def soften(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Return the targets of training, probabilities float32 [batch, class_count].

        Cross-entropy is linear in its targets, so this is the mean of two losses, weighted by `share`.

        Args:
            images: Clean images, float32 [batch, height, width, 3] in [0, 1].
            labels: int64 [batch].
        """
        predicted = tf.nn.softmax(tf.cast(self.network(images, training=False), tf.float32))
        hard = tf.one_hot(labels, predicted.shape[-1])
        return self.share * predicted + (1.0 - self.share) * hard
