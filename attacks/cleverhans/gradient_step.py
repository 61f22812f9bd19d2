"""One projected gradient step, made of CleverHans's own functions and compiled once per architecture.

CleverHans's `projected_gradient_descent` repeats this step in a Python loop: traced as a whole, its graph and its
compile time grow with the number of steps. Here the loop calls one compiled step; the tests hold the result to the
published function.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from cleverhans.tf2.attacks.fast_gradient_method import fast_gradient_method
from cleverhans.tf2.utils import clip_eta

from attacks.attack import Labels
from attacks.target import LogitsFn, Target
from attacks.threat import Images

StepFn = Callable[..., Any]


@functools.lru_cache(maxsize=8)
def compiled_step(logits: LogitsFn) -> StepFn:
    """Return the compiled step for an architecture.

    Returns:
        (weights, clean, current, labels, radius, step_size) -> images one step on, all float32
        [batch, height, width, 3] in [0, 1]; `radius` and `step_size` are scalar tensors on the same scale.
    """

    @tf.function(reduce_retracing=False)
    def step(
        weights: Sequence[tf.Tensor],
        clean: tf.Tensor,
        current: tf.Tensor,
        labels: tf.Tensor,
        radius: tf.Tensor,
        step_size: tf.Tensor,
    ) -> tf.Tensor:
        moved = fast_gradient_method(
            lambda images: logits(weights, images),
            current,
            step_size,
            np.inf,
            clip_min=0.0,
            clip_max=1.0,
            y=labels,
        )
        projected = clean + clip_eta(moved - clean, np.inf, radius)
        return tf.clip_by_value(projected, 0.0, 1.0)

    return step


def gradient_steps(
    target: Target, clean: Images, start: Images, labels: Labels, *, radius: float, step_size: float, steps: int
) -> Images:
    """Take steps from a start inside the budget around clean images.

    Args:
        target: the classifier.
        clean: float32 [batch, height, width, 3] in [0, 1].
        start: the same shape; where the first step begins.
        labels: int64 [batch], the true classes, away from which the steps lead.
        radius: the budget on images in [0, 1].
        step_size: length of a step on the same scale.
        steps: how many.
    """
    step = compiled_step(target.logits)
    origin, truth = tf.constant(clean), tf.constant(labels)
    ball, length = tf.constant(radius, tf.float32), tf.constant(step_size, tf.float32)
    current = tf.constant(start)
    for _ in range(steps):
        current = step(target.weights, origin, current, truth, ball, length)
    result: Images = current.numpy()
    return result
