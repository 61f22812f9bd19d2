"""Gaussian noise of one image, addressable draw by draw."""

from __future__ import annotations

import enum
import math
from typing import Any

import tensorflow as tf

_GROUP = 4
"""Numbers that Philox makes of one value of its counter."""


class Stream(enum.IntEnum):
    """Independent sequences of noise of one image."""

    CERTIFICATE = 0
    ATTACK = 1


def gaussian_noise(key: Any, first: Any, draws: Any, shape: tuple[int, ...], stream: Any) -> tf.Tensor:
    """Return standard normal noise: float32 [draws, *shape].

    Draw i is the same in whatever pieces the draws are made: the generator counts (Philox, Salmon et al. 2011), and
    each draw has a range of its counter. Noise thus depends on the key of an image alone, not on the batch size.

    Args:
        key: uint64 scalar, such as the seed of an image.
        first: int64 scalar, number of the first draw.
        draws: int64 scalar, number of draws.
        shape: shape of one image.
        stream: uint64 scalar; see `Stream`.
    """
    values = math.prod(shape)
    groups = -(-values // _GROUP)
    # The stateless functions of the public API start each call at a counter that follows from the seed alone.
    flat = tf.raw_ops.StatelessRandomNormalV2(
        shape=tf.stack([draws, _GROUP * groups]),
        key=tf.reshape(key, [1]),
        counter=tf.stack([tf.cast(first * groups, tf.uint64), stream]),
        alg=tf.constant(tf.random.Algorithm.PHILOX.value),
    )
    return tf.reshape(flat[:, :values], [-1, *shape])
