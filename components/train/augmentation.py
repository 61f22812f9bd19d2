"""Augmentation: random changes of training images that keep their class."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf

Augmentation = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""(images float32 [batch, height, width, 3] in [0, 1], seed int64 [2]) -> images of the same shape and range."""

_ZOOM = 0.2
"""Bound of the zoom: images are scaled by exp(-0.2) to exp(0.2)."""
_SHIFT = 0.08
"""Bound of the shift, as a fraction of the side."""
_GAIN, _BRIGHTNESS = 0.04, 0.08
"""Bounds of the relative change of each channel, and of all channels together."""


def none(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Return images unchanged."""
    del seed
    return images


def flips(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Return each image in one of its eight flips and rotations by 90 degrees; every pixel keeps its value.

    Images that are not square have four: those that keep height and width.
    """
    draws = tf.random.stateless_uniform((3, tf.shape(images)[0], 1, 1, 1), seed) < 0.5
    images = tf.where(draws[0], tf.reverse(images, [1]), images)
    images = tf.where(draws[1], tf.reverse(images, [2]), images)
    if images.shape[1] != images.shape[2]:
        return images
    # Two flips and a transposition generate all eight symmetries of the square.
    return tf.where(draws[2], tf.transpose(images, (0, 2, 1, 3)), images)


def strong(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Return images flipped, rotated by any angle, zoomed and shifted, in light of another strength and color.

    Interpolation blurs an adversarial perturbation, so this is for clean images.
    """
    # Distinct seeds: the same numbers would couple, for instance, the rotation to the flip.
    return _change_light(_change_geometry(flips(images, seed), seed + 2), seed + 4)


def _change_geometry(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    batch = tf.shape(images)[0]
    height, width = (tf.cast(tf.shape(images)[axis], tf.float32) for axis in (1, 2))
    draws = tf.random.stateless_uniform((4, batch), seed, -1.0, 1.0)
    angle, scale = draws[0] * 3.14159265, tf.exp(draws[1] * _ZOOM)
    cosine, sine = tf.cos(angle) * scale, tf.sin(angle) * scale
    center_x, center_y = (width - 1.0) / 2.0, (height - 1.0) / 2.0
    shift_x, shift_y = draws[2] * _SHIFT * width, draws[3] * _SHIFT * height
    # The transform maps output to input pixels about the corner; the offsets make the center its fixed point.
    offset_x = center_x - cosine * center_x + sine * center_y + shift_x
    offset_y = center_y - sine * center_x - cosine * center_y + shift_y
    zero = tf.zeros_like(angle)
    transforms = tf.stack([cosine, -sine, offset_x, sine, cosine, offset_y, zero, zero], axis=1)
    # The raw operation: Keras's random layers keep a state, so a resumed training would draw other numbers.
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=tf.shape(images)[1:3],
        interpolation="BILINEAR",
        # Reflected skin looks like skin; black corners would be a feature of rotated images.
        fill_mode="REFLECT",
        fill_value=0.0,
    )


def _change_light(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    batch = tf.shape(images)[0]
    gain = 1.0 + tf.random.stateless_uniform((batch, 1, 1, 3), seed, -_GAIN, _GAIN)
    brightness = 1.0 + tf.random.stateless_uniform((batch, 1, 1, 1), seed + 1, -_BRIGHTNESS, _BRIGHTNESS)
    return tf.clip_by_value(images * gain * brightness, 0.0, 1.0)


AUGMENTATIONS: Mapping[str, Augmentation] = {"none": none, "flips": flips, "strong": strong}
"""Augmentations by the name that a config gives."""
