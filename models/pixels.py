"""Preprocessing of pixels: from an encoded photograph to the input of a network."""

from __future__ import annotations

import tensorflow as tf

from dermrobust.models.preprocessing import Preprocessing

_NORM = 6.0
"""Minkowski norm with the least angular error in Finlayson & Trezzi 2004, "Shades of gray and colour constancy"."""


def decode(encoded: tf.Tensor) -> tf.Tensor:
    """Decode JPEG, PNG, BMP or the first frame of a GIF: string [] -> uint8 [height, width, 3]."""
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    return tf.ensure_shape(image, (None, None, 3))


def to_network_pixels(image: tf.Tensor, preprocessing: Preprocessing) -> tf.Tensor:
    """Crop, resize (antialiased) and color-correct one image: uint8 [any, any, 3] -> uint8 [height, width, 3].

    The result is 8-bit on purpose: it is what is stored, attacked and scored, so serving must round in the same place.
    """
    height, width = preprocessing.height, preprocessing.width
    region = tf.cast(_center_crop(image, height, width), tf.float32)
    # Without antialiasing, shrinking a photograph by a large factor would sample single pixels and their noise.
    resized = tf.image.resize(region, (height, width), antialias=True)
    if preprocessing.color_constancy == "shades_of_gray":
        # Rounding in the filter's sums may end just below zero, where a norm is not defined.
        resized = _shades_of_gray(tf.maximum(resized, 0.0))
    return tf.cast(tf.round(tf.clip_by_value(resized, 0.0, 255.0)), tf.uint8)


def from_encoded(encoded: tf.Tensor, preprocessing: Preprocessing) -> tf.Tensor:
    """Decode and preprocess one photograph: string [] -> uint8 [height, width, 3]."""
    return to_network_pixels(decode(encoded), preprocessing)


def to_network_input(pixels: tf.Tensor) -> tf.Tensor:
    """Scale stored pixels to the range of a network's input: uint8 [...] -> float32 in [0, 1]."""
    return tf.cast(pixels, tf.float32) / 255.0


def _center_crop(image: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Return the largest centered region of the aspect ratio height : width, of at least one pixel."""
    shape = tf.shape(image)
    # Whole numbers throughout: for a square both sides are exactly the shorter one.
    rows = tf.maximum(tf.minimum(shape[0], shape[1] * height // width), 1)
    columns = tf.maximum(tf.minimum(shape[1], shape[0] * width // height), 1)
    top, left = (shape[0] - rows) // 2, (shape[1] - columns) // 2
    return tf.image.crop_to_bounding_box(image, top, left, rows, columns)


def _shades_of_gray(image: tf.Tensor) -> tf.Tensor:
    """Scale the channels so that the light, estimated by their Minkowski norm, becomes gray: float32 in [0, 255]."""
    light = tf.pow(tf.reduce_mean(tf.pow(image, _NORM), axis=(0, 1)), 1.0 / _NORM)
    # A black channel gives no estimate of the light: it stays as it is.
    gain = tf.math.divide_no_nan(tf.norm(light) / tf.sqrt(3.0), light)
    return image * tf.where(gain > 0.0, gain, 1.0)
