"""Random changes of training images that leave the lesion what it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf

Augmentation = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""(images float32 [batch, size, size, 3] in [0, 1], seed int64 [2]) -> images of the same kind."""

_ZOOM, _SHIFT, _GAIN, _BRIGHTNESS = 0.2, 0.08, 0.04, 0.08


def none(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Return images as they are."""
    del seed
    return images


def flips(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Turn each image to one of its eight flips and rotations by 90 degrees; every pixel keeps its value."""
    draws = tf.random.stateless_uniform((3, tf.shape(images)[0], 1, 1, 1), seed) < 0.5
    images = tf.where(draws[0], tf.reverse(images, [1]), images)
    images = tf.where(draws[1], tf.reverse(images, [2]), images)
    return tf.where(draws[2], tf.transpose(images, (0, 2, 1, 3)), images)


def strong(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Flip and turn; then rotate freely, zoom, shift, and vary the light's strength and colour.

    Interpolation blurs an adversarial perturbation, so this is for clean images.
    """
    return _light(_geometry(flips(images, seed), seed + 2), seed + 4)


def _geometry(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    batch, size = tf.shape(images)[0], tf.cast(tf.shape(images)[1], tf.float32)
    draws = tf.random.stateless_uniform((4, batch), seed, -1.0, 1.0)
    angle, scale = draws[0] * 3.14159265, tf.exp(draws[1] * _ZOOM)
    cosine, sine, center = tf.cos(angle) * scale, tf.sin(angle) * scale, (size - 1.0) / 2.0
    shift_x, shift_y = draws[2] * _SHIFT * size, draws[3] * _SHIFT * size
    offset_x = center - cosine * center + sine * center + shift_x
    offset_y = center - sine * center - cosine * center + shift_y
    zero = tf.zeros_like(angle)
    transforms = tf.stack([cosine, -sine, offset_x, sine, cosine, offset_y, zero, zero], axis=1)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=tf.shape(images)[1:3],
        interpolation="BILINEAR",
        fill_mode="REFLECT",
        fill_value=0.0,
    )


def _light(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    batch = tf.shape(images)[0]
    gain = 1.0 + tf.random.stateless_uniform((batch, 1, 1, 3), seed, -_GAIN, _GAIN)
    brightness = 1.0 + tf.random.stateless_uniform((batch, 1, 1, 1), seed + 1, -_BRIGHTNESS, _BRIGHTNESS)
    return tf.clip_by_value(images * gain * brightness, 0.0, 1.0)


AUGMENTATIONS: Mapping[str, Augmentation] = {"none": none, "flips": flips, "strong": strong}
"""By the name that a config gives."""
