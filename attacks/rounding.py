"""Targets that see images as they are stored, in 8 bits."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import tensorflow as tf

from dermrobust.attacks.target import LogitsFn, Target
from dermrobust.attacks.threat import PIXEL_LEVELS, Bounds


def rounding_target(target: Target, bounds: Bounds) -> Target:
    """Return a target, with all models in it, that rounds images to 8 bits before it classifies them.

    An attack then optimizes the file that will be stored, and a success is one after storage. Gradients pass through
    the rounding unchanged (straight-through estimate, Bengio et al. 2013, arXiv 1308.3432).
    """
    return dataclasses.replace(
        target,
        logits=_rounding_logits(target.logits, bounds),
        exact=None if target.exact is None else rounding_target(target.exact, bounds),
        surrogates={name: rounding_target(other, bounds) for name, other in target.surrogates.items()},
    )


# The same function object for the same logits: compiled steps are cached by it, so a new one would compile anew.
@functools.lru_cache(maxsize=32)
def _rounding_logits(logits: LogitsFn, bounds: Bounds) -> LogitsFn:
    def rounded(images: tf.Tensor) -> tf.Tensor:
        # The same operations as `ThreatModel.to_pixels`, so that both round values half-way between levels alike.
        if bounds == Bounds():
            return tf.round(images * PIXEL_LEVELS) / PIXEL_LEVELS
        levels = tf.round((images - bounds.lower) / bounds.width * PIXEL_LEVELS)
        return bounds.lower + levels / PIXEL_LEVELS * bounds.width

    def stored(weights: Sequence[tf.Tensor], images: tf.Tensor) -> tf.Tensor:
        return logits(weights, tf.grad_pass_through(rounded)(images))

    return stored
