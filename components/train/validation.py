"""Validation: figures of a network on the validation images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from dermrobust.components.examples import parse_pixels
from dermrobust.components.shard_file import local_shard
from dermrobust.models.balanced_accuracy import mean_recall
from dermrobust.models.pixels import to_network_input

_IMAGES, _PIXELS = 256, 1 << 22
"""Largest number of images, and of pixels, evaluated at a time: 256 images of up to 128 px, 16 of 512 px.

Robust validation keeps the activations of all of them for a gradient, so memory grows with the pixels."""


def batch_size(height: int, width: int) -> int:
    """Return the number of images of a size that are evaluated at a time."""
    return max(1, min(_IMAGES, _PIXELS // (height * width)))


def validator(network: keras.Model, files: Sequence[str], class_count: int) -> Callable[[], dict[str, float]]:
    """Return a function that evaluates the network with its present weights.

    Its figures are `loss`, `accuracy` and `balanced_accuracy` (mean recall over the classes that are present).

    Args:
        network: From images to logits; its input shape is that of the images.
        files: TFRecord files of the validation images.
        class_count: Number of classes.
    """
    height, width = network.input_shape[1:3]
    images = tf.data.TFRecordDataset([local_shard(uri) for uri in files]).map(
        parse_pixels(height, width), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    batches = images.batch(batch_size(height, width)).prefetch(tf.data.AUTOTUNE)

    # The last batch is smaller: without relaxed shapes it would be traced anew.
    @tf.function(reduce_retracing=True)
    def evaluate(pixels: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        logits = network(to_network_input(pixels), training=False)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        predicted = tf.argmax(logits, axis=-1)
        return tf.reduce_sum(losses), tf.math.confusion_matrix(labels, predicted, class_count, dtype=tf.int64)

    def validate() -> dict[str, float]:
        loss, confusion = 0.0, np.zeros((class_count, class_count), np.int64)
        for pixels, labels in batches:
            batch_loss, batch_confusion = evaluate(pixels, labels)
            loss += float(batch_loss)
            confusion += batch_confusion.numpy()
        total = int(confusion.sum())
        return {
            "loss": loss / total,
            "accuracy": float(np.trace(confusion)) / total,
            "balanced_accuracy": mean_recall(np.diag(confusion), confusion.sum(axis=1)),
        }

    return validate
