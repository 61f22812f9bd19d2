"""Robust validation: figures of a network on attacked validation images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from dermrobust.attacks.threat import ThreatModel
from dermrobust.components.examples import parse_pixels
from dermrobust.components.shard_file import local_shard
from dermrobust.components.train.validation import batch_size
from dermrobust.models.balanced_accuracy import mean_recall
from dermrobust.models.objectives.crafting import Ball, ascend
from dermrobust.models.pixels import to_network_input

Labels = npt.NDArray[np.int64]
Images = tuple[npt.NDArray[np.uint8], Labels]
_Number = TypeVar("_Number", bound=np.generic)

_STEP = 2.5
"""Length of all steps together, in radii (Madry et al. 2018): enough to cross the ball from any start and turn."""


@dataclass(frozen=True)
class RobustCheck:
    """Attack by which robustness is measured: PGD from a random start that is the same in every epoch.

    Attributes:
        threat: The full budget.
        steps: Number of steps of 2.5 * epsilon / steps each (Madry et al. 2018, arXiv 1706.06083), at most epsilon.
        image_count: Number of images attacked: the first ones.
    """

    threat: ThreatModel
    steps: int
    image_count: int


def robust_validator(
    network: keras.Model, files: Sequence[str], class_count: int, check: RobustCheck
) -> Callable[[], dict[str, float]]:
    """Return a function that attacks the network with its present weights.

    Its figures are `robust_accuracy` and `robust_balanced_accuracy`: an image counts if it is classified correctly both
    clean and under attack.
    """
    predictions = robust_predictor(network, files, check)

    def validate() -> dict[str, float]:
        labels, predicted = predictions()
        confusion = np.zeros((class_count, class_count), np.int64)
        np.add.at(confusion, (labels, predicted), 1)
        return {
            "robust_accuracy": float(np.trace(confusion)) / int(confusion.sum()),
            "robust_balanced_accuracy": mean_recall(np.diag(confusion), confusion.sum(axis=1)),
        }

    return validate


def robust_predictor(
    network: keras.Model, files: Sequence[str], check: RobustCheck
) -> Callable[[], tuple[Labels, Labels]]:
    """Return a function that attacks the network with its present weights, and returns labels and predictions.

    Both are int64 [image], in the order of the files. A prediction is that of the attacked image, or of the clean one
    where that is wrong already.
    """
    height, width = network.input_shape[1:3]
    size = min(batch_size(height, width), check.image_count)
    images = tf.data.TFRecordDataset([local_shard(uri) for uri in files]).take(check.image_count)
    images = images.map(parse_pixels(height, width), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    batches = images.batch(size).prefetch(tf.data.AUTOTUNE)
    classify, attack = _classifier(network), _attack(network, check)

    def predictions() -> tuple[Labels, Labels]:
        answered: list[tuple[Labels, Labels]] = []

        def correct() -> Iterator[Images]:
            for pixels, labels in batches.as_numpy_iterator():
                clean = classify(_filled(pixels, size)).numpy()[: len(labels)]
                answered.append((labels, clean))
                yield pixels[clean == labels], labels[clean == labels]

        attacked = []
        for index, (pixels, labels) in enumerate(_full_batches(correct(), size)):
            seed = tf.constant([0, index], tf.int32)
            moved = attack(_filled(pixels, size), _filled(labels, size), seed).numpy()
            attacked.append(moved[: len(labels)])
        truth, predicted = (np.concatenate(each) for each in zip(*answered, strict=True))
        if attacked:
            predicted[predicted == truth] = np.concatenate(attacked)
        return truth, predicted

    return predictions


def _full_batches(batches: Iterable[Images], size: int) -> Iterator[Images]:
    """Yield the images of batches of at most `size` in batches of `size`, but for the last; no empty one."""
    pixels, labels = next(batches := iter(batches))
    for more_pixels, more_labels in batches:
        pixels, labels = np.concatenate([pixels, more_pixels]), np.concatenate([labels, more_labels])
        if len(labels) >= size:
            yield pixels[:size], labels[:size]
            pixels, labels = pixels[size:], labels[size:]
    if len(labels):
        yield pixels, labels


def _filled(values: npt.NDArray[_Number], size: int) -> tf.Tensor:
    """Return values [count, ...] with zeros up to a size [size, ...].

    A last batch of its own size would be compiled anew, which takes longer than attacking the zeros.
    """
    return tf.constant(np.pad(values, [(0, size - len(values)), *[(0, 0)] * (values.ndim - 1)]))


def _classifier(network: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return pixels -> predicted labels."""

    def predict(pixels: tf.Tensor) -> tf.Tensor:
        return tf.argmax(network(to_network_input(pixels), training=False), axis=-1)

    return tf.function(predict, autograph=False)


def _attack(network: keras.Model, check: RobustCheck) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]:
    """Return (pixels, labels, seed) -> predicted labels under attack."""
    threat = check.threat
    radius, length = threat.radius, threat.radius * min(1.0, _STEP / check.steps)

    def predict(pixels: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        ball = Ball(to_network_input(pixels), tf.constant(radius, tf.float32), threat.norm.order)
        attacked = ascend(
            network, ball, ball.random_point(seed), labels, step_length=tf.constant(length), steps=check.steps
        )
        return tf.argmax(network(attacked, training=False), axis=-1)

    # Not under XLA; see `dermrobust.components.train.step.compiled_step`.
    return tf.function(predict, autograph=False)
