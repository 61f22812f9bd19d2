"""Targets whose gradient is zero, for models through which no gradient reaches the images."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import tensorflow as tf

from dermrobust.attacks.target import LogitsFn, Target


def gradientless_target(target: Target) -> Target:
    """Return a target with a gradient of zero, where differentiating the model fails or gives none.

    Attacks that follow gradients then run, and break nothing but what their random starts break.
    """
    return dataclasses.replace(target, logits=_gradientless(target.logits))


# The same function object for the same logits: compiled steps are cached by it.
@functools.lru_cache(maxsize=16)
def _gradientless(logits: LogitsFn) -> LogitsFn:
    def blocked(weights: Any, images: tf.Tensor) -> tf.Tensor:
        return connected(tf.stop_gradient(logits(weights, images)), images)

    return blocked


def connected(logits: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
    """Return logits that have a gradient by the images, zero if there was none."""
    return logits + 0.0 * tf.reduce_sum(images, axis=[1, 2, 3])[:, None]
