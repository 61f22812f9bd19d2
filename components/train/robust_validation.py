"""Figures on attacked validation images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from dermrobust.attacks.threat import ThreatModel
from dermrobust.components.examples import parse_pixels
from dermrobust.components.train.validation import BATCH, balanced_accuracy
from dermrobust.models.objectives.crafting import Ball, ascend
from dermrobust.models.pixels import to_network_input


@dataclass(frozen=True)
class RobustCheck:
    """How robustness is measured: PGD from a random start that is the same in every epoch.

    Attributes:
        threat: the full budget.
        steps: of 2.5 * epsilon / steps each (Madry et al. 2018, arXiv 1706.06083), at most epsilon.
        image_count: the first so many images are attacked.
    """

    threat: ThreatModel
    steps: int
    image_count: int


def robust_validator(
    network: keras.Model, files: Sequence[str], image_size: int, class_count: int, check: RobustCheck
) -> Callable[[], dict[str, float]]:
    """Return a function that attacks the network as it then is.

    Its figures are `robust_accuracy` and `robust_balanced_accuracy`: an image counts if it is classified correctly both
    clean and under attack.
    """
    size = min(BATCH, check.image_count)
    images = tf.data.TFRecordDataset(list(files)).take(check.image_count)
    images = images.map(parse_pixels(image_size), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    batches = images.batch(size).prefetch(tf.data.AUTOTUNE)
    predict = _worst_predictions(network, check)

    def validate() -> dict[str, float]:
        confusion = np.zeros((class_count, class_count), np.int64)
        for index, (pixels, labels) in enumerate(batches.as_numpy_iterator()):
            # Filled up to the full size: another size would be compiled for once more.
            rest = size - len(labels)
            filled = np.pad(pixels, ((0, rest), (0, 0), (0, 0), (0, 0)))
            seed = tf.constant([0, index], tf.int32)
            predicted = predict(tf.constant(filled), tf.constant(np.pad(labels, (0, rest))), seed).numpy()
            np.add.at(confusion, (labels, predicted[: len(labels)]), 1)
        return {
            "robust_accuracy": float(np.trace(confusion)) / int(confusion.sum()),
            "robust_balanced_accuracy": balanced_accuracy(confusion),
        }

    return validate


def _worst_predictions(
    network: keras.Model, check: RobustCheck
) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]:
    """Return (pixels, labels, seed) -> the clean prediction where it is wrong already, else that under attack."""
    threat = check.threat
    radius, length = threat.radius, threat.radius * min(1.0, 2.5 / check.steps)

    def predict(pixels: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        images = to_network_input(pixels)
        ball = Ball(images, tf.constant(radius, tf.float32), threat.norm.order)
        attacked = ascend(
            network, ball, ball.random_point(seed), labels, step_length=tf.constant(length), steps=check.steps
        )
        clean, moved = (tf.argmax(network(each, training=False), axis=-1) for each in (images, attacked))
        return tf.where(clean == labels, moved, clean)

    # Not under XLA; see `dermrobust.components.train.step.compiled_step`.
    return tf.function(predict, autograph=False)
