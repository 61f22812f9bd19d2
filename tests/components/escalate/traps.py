"""Models that look robust because they hide their gradients, around one network that is not robust at all."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dermrobust.attacks.problem import Labels
from dermrobust.attacks.threat import Pixels
from tests.small_networks import trained_network

SIZE, CLASSES = 8, ("akiec", "bcc", "mel", "nv")
GRAY = 120 / 255

Layer = Callable[[Any], Any]


def faint_images(count: int, seed: int) -> tuple[Pixels, Labels]:
    """Noise whose average colour tells the class, 10 levels apart, so that 8 levels turn each class into another."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, len(CLASSES), count).astype(np.int64)
    colors = 120 + 10 * np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])
    noise = random.normal(0, 4, (count, SIZE, SIZE, 3))
    return np.clip(np.rint(colors[labels][:, None, None, :] + noise), 0, 255).astype(np.uint8), labels


@functools.cache
def fragile() -> keras.Model:
    """A network from images in [0, 1] to logits."""
    return trained_network(*faint_images(512, seed=0), class_count=len(CLASSES))


def rounded(images: Any) -> Any:
    return tf.round(images * 31) / 31


def quantized(images: Any) -> Any:
    return tf.cast(tf.cast(images * 32, tf.uint8), tf.float32) / 32 + 1 / 64


def compressed(images: Any) -> Any:
    """Coefficients of the discrete cosine transform in coarse steps, as JPEG stores them."""
    place = np.arange(SIZE)
    basis = np.sqrt(2 / SIZE) * np.cos(np.pi * (2 * place[None] + 1) * place[:, None] / (2 * SIZE))
    basis[0] /= np.sqrt(2)
    transform = tf.constant(basis, tf.float32)
    coefficients = tf.einsum("ij,bjkc,lk->bilc", transform, images, transform)
    step = 24 / 255
    return tf.einsum("ji,bjkc,kl->bilc", transform, tf.round(coefficients / step) * step, transform)


def thermometer(images: Any) -> Any:
    """Of 64 thresholds the share that a value exceeds."""
    thresholds = np.arange(64, dtype=np.float32) / 64
    return tf.reduce_mean(tf.cast(images[..., None] > thresholds, tf.float32), axis=-1) + 1 / 128


def noisy(images: Any) -> Any:
    return images + tf.random.normal(tf.shape(images), stddev=0.06)


def resized_and_padded(images: Any) -> Any:
    """Random size and place (Xie et al. 2018, arXiv 1711.01991)."""
    size = tf.random.uniform([], 7, SIZE + 1, tf.int32)
    top, left = (tf.random.uniform([], 0, SIZE - size + 1, tf.int32) for _ in range(2))
    free = SIZE - size
    padding = [[0, 0], [top, free - top], [left, free - left], [0, 0]]
    found = tf.pad(tf.image.resize(images, [size, size]), padding, constant_values=GRAY)
    return tf.ensure_shape(found, [None, SIZE, SIZE, 3])


def dropped_layer(images: Any) -> Any:
    """A layer that is left out for half of the images."""
    smooth = tf.nn.avg_pool2d(images, 3, 1, "SAME")
    return tf.where(tf.random.uniform([tf.shape(images)[0], 1, 1, 1]) < 0.5, images, tf.reverse(smooth, [2]))


def stopped(images: Any) -> Any:
    return tf.stop_gradient(images)


def shattered(images: Any) -> Any:
    """A ripple of 5 levels whose slope is 40 times that of the image."""
    return images + 0.02 * tf.sin(2000 * images)


def rippling(images: Any) -> Any:
    """The same ripple, elsewhere at every evaluation."""
    return images + 0.02 * tf.sin(2000 * images + tf.random.uniform(tf.shape(images), maxval=2 * np.pi))


@tf.custom_gradient
def inverted(images: Any) -> Any:
    """The images, with a gradient of the other sign."""
    return tf.identity(images), lambda upstream: -upstream


def scaled(logits: Any) -> Any:
    return 1e4 * logits


def saturated(logits: Any) -> Any:
    return tf.nn.softmax(100 * logits)


def decided(logits: Any) -> Any:
    return tf.one_hot(tf.argmax(logits, axis=-1), len(CLASSES))


MASKING: Mapping[str, Layer] = {
    "rounded": rounded,
    "quantized": quantized,
    "compressed": compressed,
    "thermometer": thermometer,
    "stopped": stopped,
    "shattered": shattered,
    "rippling": rippling,
    "inverted": inverted,
}
"""Layers in front of the network that its own gradients do not pass."""
RANDOM: Mapping[str, Layer] = {
    "noisy": noisy,
    "resized_and_padded": resized_and_padded,
    "dropped_layer": dropped_layer,
}
"""Layers in front of it that only randomize its answers; gradients pass, if less well."""
AFTER: Mapping[str, Layer] = {"scaled": scaled, "saturated": saturated, "decided": decided}
"""Layers behind it that gradients do not pass."""
FOOLING = (*MASKING, *AFTER)
"""Traps that attacks with the model's own gradients do not break."""


def answers(name: str, network: keras.Model, images: Any) -> dict[str, Any]:
    """Scores of a trap: a function that can be exported; `name` is none of them for the network alone."""
    logits = network({**MASKING, **RANDOM}.get(name, tf.identity)(images), training=False)
    return {"scores": AFTER.get(name, tf.identity)(logits)}
