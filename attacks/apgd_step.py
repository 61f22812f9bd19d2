"""The step of auto-PGD, compiled once per architecture and loss."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from cleverhans.tf2.utils import optimize_linear

from dermrobust.attacks import losses
from dermrobust.attacks.apgd_schedule import checkpoints
from dermrobust.attacks.cleverhans.gradient_step import existing, projected
from dermrobust.attacks.compiling import Shape, compile_step, per_image, scalars
from dermrobust.attacks.logits import succeeded
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.randomness import on_the_sphere
from dermrobust.attacks.stepping import Method, State, StepFn, run
from dermrobust.attacks.target import LogitsFn
from dermrobust.attacks.threat import Images, Norm

_MOMENTUM = 0.75
_RISING_SHARE = 0.75

_SCALARS = (tf.float32, tf.float32, tf.float32, tf.float32, tf.float32, tf.bool, tf.int64)


@functools.lru_cache(maxsize=16)
def _compiled(logits: LogitsFn, slack: float, shape: Shape, norm: Norm, targeted: bool, loss: losses.LossFn) -> StepFn:
    """Return the compiled step.

    State: best, current and previous image, gradients at the current and at the best image; and for each image the
    step size, the loss at the current image, the best loss, the best loss at the last checkpoint, the number of
    rises since then, whether the step size was halved there, and the class that the loss is told beside.
    Constants: radius, lower and upper bound; then the checkpoints.
    """

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
        window: tf.Tensor,
    ) -> tuple[State, tf.Tensor]:
        best, current, previous, gradient, best_gradient = state[:5]
        step_size, value, best_value, checked_value, rises, halved, aims = state[5:]
        first = iteration == 0

        least, largest = tf.maximum(clean - radius, lower), tf.minimum(clean + radius, upper)

        def back(images: tf.Tensor) -> tf.Tensor:
            if norm is Norm.LINF:
                return tf.raw_ops.ClipByValue(t=images, clip_value_min=least, clip_value_max=largest)
            return projected(images, clean, radius, lower, upper, norm)

        # One step along the gradient, then momentum; the very first iteration only looks at the start.
        stepped = back(current + _wide(step_size) * optimize_linear(gradient, 1.0, norm.order))
        share = _wide(tf.where(iteration == 1, 1.0, _MOMENTUM))
        moved = back(current + share * (stepped - current) + (1 - share) * (current - previous))
        evaluated = tf.where(_wide(first), current, moved)

        with tf.GradientTape() as tape:
            tape.watch(evaluated)
            outputs = logits(weights, evaluated)
            found = loss(outputs, classes, aims)
        new_gradient = existing(tape.gradient(found, evaluated))
        success = succeeded(outputs, classes, targeted=targeted, slack=slack)

        rises += tf.where(~first & (found > value), 1.0, 0.0)
        better = first | (found > best_value)
        best = tf.where(_wide(better | (success & stop)), evaluated, best)
        best_gradient = tf.where(_wide(better), new_gradient, best_gradient)
        best_value = tf.where(better, found, best_value)
        checked_value = tf.where(first, found, checked_value)

        # At a checkpoint: halve the step where progress was rare, and go on from the best image.
        length = tf.gather(window, iteration)
        check = length > 0
        oscillates = rises <= _RISING_SHARE * length
        stuck = ~halved & (checked_value >= best_value)
        halve = check & (oscillates | stuck)
        state = (
            best,
            tf.where(_wide(halve), best, evaluated),
            current,
            tf.where(_wide(halve), best_gradient, new_gradient),
            best_gradient,
            tf.where(halve, step_size / 2, step_size),
            found,
            best_value,
            tf.where(check, best_value, checked_value),
            tf.where(check, 0.0, rises),
            tf.where(check, halve, halved),
            aims,
        )
        return state, success

    specs = [per_image(shape)] * 5 + [per_image((), dtype) for dtype in _SCALARS]
    return compile_step(body, specs, shape, [*scalars(3), tf.TensorSpec([None], tf.float32)])


def _wide(values: tf.Tensor) -> tf.Tensor:
    """Return [batch] as [batch, 1, 1, 1]."""
    return tf.reshape(values, [-1, 1, 1, 1])


def auto_pgd(problem: Problem, loss: losses.LossFn, steps: int) -> Images:
    """Raise a loss from a random start; see `dermrobust.attacks.apgd`.

    Args:
        problem: what to attack; its goals, where it has some, are what the loss is told.
        loss: the loss.
        steps: of the gradient, beside the one that looks at the start.
    """
    threat, target = problem.threat, problem.target
    compiled = _compiled(target.logits, target.slack, problem.images.shape[1:], threat.norm, problem.targeted, loss)
    constants = [tf.constant(value, tf.float32) for value in (threat.radius, threat.bounds.lower, threat.bounds.upper)]
    window = tf.constant(checkpoints(steps), tf.float32)

    def start(part: Problem) -> list[npt.NDArray[Any]]:
        images, nothing = on_the_sphere(part), np.zeros(part.images.shape, np.float32)
        count = len(images)
        zeros = np.zeros(count, np.float32)
        step_size = np.full(count, 2.0 * threat.radius, np.float32)
        flags = np.ones(count, bool)
        return [images, images, images, nothing, nothing, step_size, zeros, zeros, zeros, zeros, flags, part.aims]

    def step(*arguments: Any) -> tuple[State, tf.Tensor]:
        return compiled(*arguments, *constants, window)

    return run(problem, Method(start, step, steps + 1))
