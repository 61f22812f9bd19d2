"""Projected gradient steps made of CleverHans's functions, compiled once for each architecture.

CleverHans's attacks repeat such a step in a Python loop. Traced as a whole, its graph and compile time grow with the
number of steps. Here a loop calls one compiled step, and tests compare the results to the published functions.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from cleverhans.tf2.utils import clip_eta, compute_gradient, optimize_linear

from dermrobust.attacks.compiling import Shape, compile_step, over_pixels, per_image, scalars
from dermrobust.attacks.errors import UserError
from dermrobust.attacks.logits import succeeded
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.stepping import Method, State, StepFn, run
from dermrobust.attacks.target import LogitsFn
from dermrobust.attacks.threat import Images, Norm


def loss_gradient(
    logits: LogitsFn, weights: Any, images: tf.Tensor, classes: tf.Tensor, *, targeted: bool, slack: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the gradient of the attack's loss (float32, like images), and whether images succeed (bool [batch]).

    The loss is the cross-entropy of the classes, negated for a targeted attack, so that attacks ascend.
    """
    # CleverHans's `compute_gradient` is a tf.function of its own and returns no logits. Its Python function runs inside
    # of the step's graph, where the logits that it computes also tell which images have succeeded.
    seen = []

    def observed(values: tf.Tensor) -> tf.Tensor:
        seen.append(logits(weights, values))
        return seen[0]

    loss = tf.nn.sparse_softmax_cross_entropy_with_logits
    gradient = existing(compute_gradient.python_function(observed, loss, images, classes, targeted))
    return gradient, succeeded(seen[0], classes, targeted=targeted, slack=slack)


def existing(gradient: tf.Tensor | None) -> tf.Tensor:
    """Return a gradient.

    Raises:
        UserError: it is None, since no differentiable path leads from the images to the logits.
    """
    if gradient is None:
        raise UserError(
            "the model's logits have no gradient with respect to its images (an operation in it is not "
            "differentiable); attack it with square or spsa, which need none"
        )
    return gradient


def projected(
    images: tf.Tensor, clean: tf.Tensor, radius: tf.Tensor, lower: tf.Tensor, upper: tf.Tensor, norm: Norm
) -> tf.Tensor:
    """Return images projected into the budget around the clean ones and into the bounds."""
    return tf.clip_by_value(clean + clip_eta(images - clean, norm.order, radius), lower, upper)


def hold(success: tf.Tensor, stop: tf.Tensor, current: tf.Tensor, moved: tf.Tensor) -> tf.Tensor:
    """Return the current images where success ends the attack on them, and the moved ones elsewhere."""
    return tf.where(over_pixels(success & stop), current, moved)


def box(problem: Problem) -> tuple[Images, Images]:
    """Return the lower and upper limits of each pixel under an L-infinity budget and the bounds: like images."""
    images, radius, bounds = problem.images, np.float32(problem.threat.radius), problem.threat.bounds
    return np.maximum(images - radius, np.float32(bounds.lower)), np.minimum(images + radius, np.float32(bounds.upper))


# The caches keep traced programs alive, so they are bounded; 16 is more architectures than a run attacks.
@functools.lru_cache(maxsize=16)
def _box_step(logits: LogitsFn, slack: float, shape: Shape, targeted: bool) -> StepFn:
    """Return the compiled step in L-infinity: state (images, `box`), constant step size.

    The box is state and not computed in each step: clipping to budget and bounds is then one pass over the images, and
    beside the gradient an attack costs what its passes over the images cost.
    """

    def body(
        weights: Any,
        clean: tf.Tensor,
        classes: tf.Tensor,
        iteration: tf.Tensor,
        stop: tf.Tensor,
        state: State,
        step_size: tf.Tensor,
    ) -> tuple[State, tf.Tensor]:
        del clean, iteration
        current, least, largest = state
        gradient, success = loss_gradient(logits, weights, current, classes, targeted=targeted, slack=slack)
        # A step of length 0 holds an image that is done, as `hold` does, without another pass over the images.
        length = over_pixels(tf.where(success & stop, 0.0, step_size))
        moved = current + optimize_linear(gradient, length, math.inf)
        # One operation: tf.clip_by_value is a minimum and a maximum.
        return (tf.raw_ops.ClipByValue(t=moved, clip_value_min=least, clip_value_max=largest), least, largest), success

    return compile_step(body, [per_image(shape)] * 3, shape, scalars(1))


@functools.lru_cache(maxsize=16)
def _ball_step(logits: LogitsFn, slack: float, shape: Shape, targeted: bool) -> StepFn:
    """Return the compiled step in L2: state (images,), constants radius, lower and upper bound, step size."""

    def body(
        weights: Any,
        clean: tf.Tensor,
        classes: tf.Tensor,
        iteration: tf.Tensor,
        stop: tf.Tensor,
        state: State,
        radius: tf.Tensor,
        lower: tf.Tensor,
        upper: tf.Tensor,
        step_size: tf.Tensor,
    ) -> tuple[State, tf.Tensor]:
        del iteration
        (current,) = state
        gradient, success = loss_gradient(logits, weights, current, classes, targeted=targeted, slack=slack)
        # CleverHans's fast gradient method clips to the bounds before the projection into the budget.
        moved = tf.clip_by_value(current + optimize_linear(gradient, step_size, 2), lower, upper)
        return (hold(success, stop, current, projected(moved, clean, radius, lower, upper, Norm.L2)),), success

    return compile_step(body, [per_image(shape)], shape, scalars(4))


@functools.lru_cache(maxsize=16)
def _momentum_step(logits: LogitsFn, slack: float, shape: Shape, norm: Norm, targeted: bool) -> StepFn:
    """Return the compiled step: state (images, momentum), constants radius, bounds, step size and decay."""

    def body(
        weights: Any,
        clean: tf.Tensor,
        classes: tf.Tensor,
        iteration: tf.Tensor,
        stop: tf.Tensor,
        state: State,
        radius: tf.Tensor,
        lower: tf.Tensor,
        upper: tf.Tensor,
        step_size: tf.Tensor,
        decay: tf.Tensor,
    ) -> tuple[State, tf.Tensor]:
        del iteration
        current, momentum = state
        gradient, success = loss_gradient(logits, weights, current, classes, targeted=targeted, slack=slack)
        # Divided by its mean size, so that every gradient has the same weight in the sum (Dong et al., equation 6).
        mean = tf.reduce_mean(tf.abs(gradient), axis=[1, 2, 3], keepdims=True)
        momentum = decay * momentum + gradient / tf.maximum(mean, 1e-12)
        moved = projected(current + optimize_linear(momentum, step_size, norm.order), clean, radius, lower, upper, norm)
        return (hold(success, stop, current, moved), momentum), success

    return compile_step(body, [per_image(shape), per_image(shape)], shape, scalars(5))


def with_constants(step: StepFn, *values: float) -> StepFn:
    """Return a step with its constants bound."""
    constants = [tf.constant(value, tf.float32) for value in values]
    return lambda *arguments: step(*arguments, *constants)


def gradient_steps(problem: Problem, start: Callable[[Problem], Images], *, step_size: float, steps: int) -> Images:
    """Return images after gradient steps of one length.

    Args:
        problem: images to attack.
        start: returns the images from which a part of the problem starts, inside the budget.
        step_size: length of a step on the scale of the images.
        steps: number of steps.
    """
    threat, target, shape = problem.threat, problem.target, problem.images.shape[1:]
    if threat.norm is Norm.LINF:
        step = with_constants(_box_step(target.logits, target.slack, shape, problem.targeted), step_size)
        return run(problem, Method(lambda part: (start(part), *box(part)), step, steps))
    compiled = _ball_step(target.logits, target.slack, shape, problem.targeted)
    step = with_constants(compiled, threat.radius, threat.bounds.lower, threat.bounds.upper, step_size)
    return run(problem, Method(lambda part: (start(part),), step, steps))


def momentum_steps(problem: Problem, *, step_size: float, steps: int, decay: float) -> Images:
    """Return images after steps along a decaying sum of gradients, from the clean images; see `gradient_steps`."""
    threat, target = problem.threat, problem.target
    compiled = _momentum_step(target.logits, target.slack, problem.images.shape[1:], threat.norm, problem.targeted)
    step = with_constants(compiled, threat.radius, threat.bounds.lower, threat.bounds.upper, step_size, decay)
    return run(problem, Method(lambda part: (part.images, part.images * 0), step, steps))
