"""Classifier that refers images of low confidence, as a target of attacks with one more class."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import tensorflow as tf

from dermrobust.attacks.target import LogitsFn, Target

_CLEARANCE = 1e-4
"""Distance of an accepted image's log confidence from the threshold: scores of another batch differ in the last digits,
and a success must not depend on them."""


def rejecting_target(target: Target, *, temperature: float, threshold: float) -> Target:
    """Return a classifier with one more class, the last: the image is referred.

    Its logits are the log probabilities at a temperature, and the log threshold for the class "referred". It is the
    largest where every probability is below the threshold, so that argmax is the decision of the classifier with its
    rejector, and a margin to any wrong class includes the threshold. Gradients of both are exact.

    Args:
        target: the classifier.
        temperature: what logits are divided by before the softmax.
        threshold: confidence from which on an image is not referred, above 0.
    """
    limits = tf.constant([temperature, math.log(threshold) + _CLEARANCE], tf.float32)
    exact = target.exact
    if exact is not None:
        exact = rejecting_target(exact, temperature=temperature, threshold=threshold)
    # Temperature and threshold are weights: one compiled attack serves all of them.
    return dataclasses.replace(
        target,
        logits=_rejecting_logits(target.logits),
        weights=(limits, *target.weights),
        exact=exact,
        surrogates={},
    )


# The same function object for the same logits: compiled steps are cached by it, so a new one would compile anew.
@functools.lru_cache(maxsize=16)
def _rejecting_logits(logits: LogitsFn) -> LogitsFn:
    def rejecting(weights: Any, images: Any) -> Any:
        limits, *own = weights
        scores = tf.nn.log_softmax(logits(own, images) / limits[0])
        referred = tf.fill([tf.shape(scores)[0], 1], limits[1])
        return tf.concat([scores, referred], axis=-1)

    return rejecting
