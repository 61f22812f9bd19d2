"""Figures on the validation images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from dermrobust.components.examples import parse_pixels
from dermrobust.models.pixels import to_network_input

BATCH = 256
"""Images that are evaluated at a time."""


def validator(
    network: keras.Model, files: Sequence[str], image_size: int, class_count: int
) -> Callable[[], dict[str, float]]:
    """Return a function that evaluates the network as it then is.

    Its figures are `loss`, `accuracy` and `balanced_accuracy` (mean recall over the classes that are present).
    """
    images = tf.data.TFRecordDataset(list(files)).map(
        parse_pixels(image_size), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    batches = images.batch(BATCH).prefetch(tf.data.AUTOTUNE)

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
            "balanced_accuracy": balanced_accuracy(confusion),
        }

    return validate


def balanced_accuracy(confusion: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> float:
    """Return the mean recall over classes that are present: from counts [true class, predicted class]."""
    counts = confusion.sum(axis=1)
    present = counts > 0
    return float(np.mean(np.diag(confusion)[present] / counts[present]))
