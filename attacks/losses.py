"""Losses that attacks maximize: [batch] from logits float32 [batch, class_count]."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

LossFn = Callable[[Any, Any, Any], Any]
"""(logits, true classes int64 [batch], goals int64 [batch]) -> loss float32 [batch].

It is larger where the attack is closer to success."""

_TINY = 1e-12
"""Avoids a division by zero where logits are equal; as in the published code."""


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor, goals: tf.Tensor) -> tf.Tensor:
    """Return the cross-entropy of the true class."""
    del goals
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)


def targeted_cross_entropy(logits: tf.Tensor, labels: tf.Tensor, goals: tf.Tensor) -> tf.Tensor:
    """Return the negative cross-entropy of the goal."""
    del labels
    return -tf.nn.sparse_softmax_cross_entropy_with_logits(labels=goals, logits=logits)


def margin(logits: tf.Tensor, labels: tf.Tensor, goals: tf.Tensor) -> tf.Tensor:
    """Return the largest wrong logit minus that of the true class (Carlini & Wagner 2017, arXiv 1608.04644)."""
    del goals
    truth = tf.one_hot(labels, tf.shape(logits)[-1], on_value=True, off_value=False)
    wrong = tf.where(truth, tf.fill(tf.shape(logits), logits.dtype.min), logits)
    return tf.reduce_max(wrong, axis=-1) - tf.gather(logits, labels, batch_dims=1)


def targeted_margin(logits: tf.Tensor, labels: tf.Tensor, goals: tf.Tensor) -> tf.Tensor:
    """Return the goal's logit minus the largest other one."""
    return -margin(logits, goals, labels)


def difference_of_logits_ratio(logits: tf.Tensor, labels: tf.Tensor, goals: tf.Tensor) -> tf.Tensor:
    """Return the margin divided by the difference of the first and third logit (Croce & Hein 2020, arXiv 2003.01690).

    It is invariant to scaling and shifting logits, so unlike cross-entropy its gradient does not vanish for a
    confident model. It needs three classes.
    """
    ordered = tf.sort(logits, axis=-1, direction="DESCENDING")
    return margin(logits, labels, goals) / (ordered[:, 0] - ordered[:, 2] + _TINY)


def targeted_difference_of_logits_ratio(logits: tf.Tensor, labels: tf.Tensor, goals: tf.Tensor) -> tf.Tensor:
    """Return the goal's logit minus the true class's, divided by the spread of the largest four.

    Croce & Hein 2020, arXiv 2003.01690. It needs four classes.
    """
    ordered = tf.sort(logits, axis=-1, direction="DESCENDING")
    spread = ordered[:, 0] - (ordered[:, 2] + ordered[:, 3]) / 2 + _TINY
    distance = tf.gather(logits, goals, batch_dims=1) - tf.gather(logits, labels, batch_dims=1)
    return distance / spread
