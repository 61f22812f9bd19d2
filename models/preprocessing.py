"""From an encoded photograph to what the network sees; the same in every stage and inside the exported model."""

from __future__ import annotations

from typing import Literal

import tensorflow as tf
from pydantic import BaseModel, ConfigDict, Field


class Preprocessing(BaseModel):
    """How a photograph becomes the input of a network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_size: int = Field(32, ge=8, le=1024, description="Height and width of the network's input, in pixels.")
    color_constancy: Literal["none", "shades_of_gray"] = Field(
        "none", description="Correction of the light's colour (shades of gray: Finlayson & Trezzi 2004, norm 6)."
    )


def decode(encoded: tf.Tensor) -> tf.Tensor:
    """Decode JPEG, PNG, BMP or the first frame of a GIF: string [] -> uint8 [height, width, 3]."""
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    return tf.ensure_shape(image, (None, None, 3))


def _center_crop(image: tf.Tensor) -> tf.Tensor:
    """Cut the largest centred square."""
    shape = tf.shape(image)
    side = tf.minimum(shape[0], shape[1])
    return tf.image.crop_to_bounding_box(image, (shape[0] - side) // 2, (shape[1] - side) // 2, side, side)


def _shades_of_gray(image: tf.Tensor, power: float = 6.0) -> tf.Tensor:
    """Scale the channels so that the light, estimated by their Minkowski norm, becomes gray: float32 in [0, 255]."""
    light = tf.pow(tf.reduce_mean(tf.pow(image, power), axis=(0, 1)), 1.0 / power)
    # A black channel says nothing about the light: it stays as it is.
    gain = tf.math.divide_no_nan(tf.norm(light) / tf.sqrt(3.0), light)
    return image * tf.where(gain > 0.0, gain, 1.0)


def to_network_pixels(image: tf.Tensor, preprocessing: Preprocessing) -> tf.Tensor:
    """Crop, resize (antialiased) and correct one image: uint8 [height, width, 3] -> uint8 [size, size, 3].

    The result is 8-bit on purpose: it is what is stored, attacked and scored, so serving must round in the same place.
    """
    size = preprocessing.image_size
    square = tf.cast(_center_crop(image), tf.float32)
    small = tf.image.resize(square, (size, size), antialias=True)
    if preprocessing.color_constancy == "shades_of_gray":
        small = _shades_of_gray(tf.maximum(small, 0.0))
    return tf.cast(tf.round(tf.clip_by_value(small, 0.0, 255.0)), tf.uint8)


def from_encoded(encoded: tf.Tensor, preprocessing: Preprocessing) -> tf.Tensor:
    """Decode and preprocess one photograph: string [] -> uint8 [size, size, 3]."""
    return to_network_pixels(decode(encoded), preprocessing)


def to_network_input(pixels: tf.Tensor) -> tf.Tensor:
    """Scale stored pixels to what the network takes: uint8 [...] -> float32 in [0, 1]."""
    return tf.cast(pixels, tf.float32) / 255.0
