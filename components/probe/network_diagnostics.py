"""Diagnostics of a network: gradients, determinism, and outputs that are probabilities already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from dermrobust.attacks.logits import compiled_logits, logits_of
from dermrobust.attacks.target import Target
from dermrobust.attacks.threat import Images

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Health:
    """Diagnostics of each image.

    Attributes:
        gradient: float32 [image], largest absolute value of the gradient of the cross-entropy with respect to the
            image; NaN or infinite where the gradient is.
        repeated: float32 [image], largest difference of the logits of two identical calls, relative to their spread.
        reordered: float32 [image], the same for two calls with the images in opposite order.
        like_probabilities: bool [image], whether outputs lie in [0, 1] and sum to 1.
    """

    gradient: Floats
    repeated: Floats
    reordered: Floats
    like_probabilities: npt.NDArray[np.bool_]


def examine(target: Target, images: Images, labels: npt.NDArray[np.int64], batch_size: int) -> Health:
    """Return the diagnostics of a network: three forward passes and one backward pass.

    Args:
        target: the network, without approximations for attacks.
        images: float32 [count, height, width, 3].
        labels: int64 [count].
        batch_size: images per call.
    """
    first, second = logits_of(target, images, batch_size), logits_of(target, images, batch_size)
    backwards = logits_of(target, images[::-1].copy(), batch_size)[::-1]
    # Logits have no scale of their own; networks that answer the same logit for all classes must not divide by 0.
    spread = np.maximum(np.ptp(first, axis=1), np.finfo(np.float32).tiny)
    return Health(
        gradient=_gradients(target, images, labels, batch_size),
        repeated=np.abs(second - first).max(axis=1) / spread,
        reordered=np.abs(backwards - first).max(axis=1) / spread,
        # Softmax outputs in float32 sum to 1 within about 1e-6; half precision needs the rest.
        like_probabilities=(first >= 0).all(axis=1) & (np.abs(first.sum(axis=1) - 1) < 1e-3),
    )


def _gradients(target: Target, images: Images, labels: npt.NDArray[np.int64], batch_size: int) -> Floats:
    largest = []
    for start in range(0, len(images), batch_size):
        # The last batch is filled up with the first images: another shape would trace the network again.
        index = np.arange(start, start + batch_size) % len(images)
        gradient = _gradient(target, tf.constant(images[index]), tf.constant(labels[index]))
        values = np.abs(gradient.numpy()).reshape(batch_size, -1).max(axis=1)
        largest.append(values[: len(images) - start])
    return np.concatenate(largest)


def _gradient(target: Target, images: tf.Tensor, labels: tf.Tensor) -> Any:
    """Return the gradient of each image's cross-entropy; zeros where an operation has none."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = compiled_logits(target.logits)(target.weights, images)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    return tape.gradient(loss, images, unconnected_gradients=tf.UnconnectedGradients.ZERO)
