"""Logits of any number of images, and success of an attack as a function of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from dermrobust.attacks.problem import Labels
from dermrobust.attacks.target import LogitsFn, Target
from dermrobust.attacks.threat import Images

Logits = npt.NDArray[np.float32]
"""float32 [count, class_count]."""


# Bounded, because the cache keeps traced programs alive; one entry for each architecture.
@functools.lru_cache(maxsize=16)
def compiled_logits(logits: LogitsFn) -> Any:
    """Return the compiled forward pass of an architecture: (weights, images) -> logits."""
    return tf.function(in_scope(logits), reduce_retracing=True)


def in_scope(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function, to be traced, whose operations are named below a scope.

    At the root of a graph TensorFlow refuses names that begin with an underscore, which Keras allows for layers.
    """

    @functools.wraps(function)
    def scoped(*arguments: Any) -> Any:
        with tf.name_scope("attacked"):
            return function(*arguments)

    return scoped


def logits_of(target: Target, images: Images, batch_size: int) -> Logits:
    """Return logits: float32 [count, class_count]."""
    forward = compiled_logits(target.logits)
    parts = []
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        # The last batch is padded with repeated images: a batch of another size would be traced anew.
        index = np.arange(batch_size) % len(batch)
        parts.append(np.asarray(forward(target.weights, tf.constant(batch[index])))[: len(batch)])
    return np.concatenate(parts)


def finite(logits: tf.Tensor) -> tf.Tensor:
    """Return logits.

    Raises:
        tf.errors.InvalidArgumentError: one of them is not finite.
    """
    return tf.debugging.assert_all_finite(logits, "the model's logits are not finite under attack")


def succeeded(logits: tf.Tensor, classes: tf.Tensor, *, targeted: bool, slack: float) -> tf.Tensor:
    """Return which images the attack has succeeded on: bool [batch].

    Args:
        logits: float32 [batch, class_count].
        classes: int64 [batch], the true classes, or the goals of a targeted attack.
        targeted: whether `classes` are goals.
        slack: fraction of the logits' spread by which the decision must be clear; see `Target.slack`.

    Raises:
        tf.errors.InvalidArgumentError: a logit is not finite.
    """
    # Comparisons with NaN are false, so a model with NaN logits would look robust.
    logits = finite(logits)
    predicted = tf.argmax(logits, axis=-1)
    decided = tf.equal(predicted, classes) if targeted else tf.not_equal(predicted, classes)
    if slack:
        own = tf.one_hot(classes, tf.shape(logits)[-1], on_value=True, off_value=False)
        others = tf.reduce_max(tf.where(own, logits.dtype.min, logits), axis=-1)
        lead = others - tf.gather(logits, classes, batch_dims=1)
        # Relative to the spread: softmax and argmax do not change with a constant added to all logits.
        spread = tf.reduce_max(logits, axis=-1) - tf.reduce_min(logits, axis=-1)
        decided &= (-lead if targeted else lead) > slack * spread
    return decided


def margins(logits: Logits, labels: Labels) -> npt.NDArray[np.float32]:
    """Return the true class's logit minus the largest other one: float32 [count], negative where the class is wrong."""
    index = np.arange(len(labels))
    others = logits.copy()
    others[index, labels] = -np.inf
    return np.asarray(logits[index, labels] - others.max(axis=1))
