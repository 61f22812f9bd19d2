"""Standard training."""

from __future__ import annotations

import keras
import tensorflow as tf


def cross_entropy(
    network: keras.Model, images: tf.Tensor, labels: tf.Tensor, class_weights: tf.Tensor, seed: tf.Tensor
) -> tf.Tensor:
    """Return the class-weighted cross-entropy on the images as they are; see `Objective`."""
    del seed
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=network(images, training=True))
    return tf.reduce_mean(losses * tf.gather(class_weights, labels))
