"""Compiled step of Auto-PGD."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from cleverhans.tf2.utils import optimize_linear

from dermrobust.attacks import losses
from dermrobust.attacks.apgd_l1_step import l1_auto_pgd
from dermrobust.attacks.apgd_schedule import checkpoints
from dermrobust.attacks.cleverhans.gradient_step import existing, projected
from dermrobust.attacks.compiling import Shape, compile_step, over_pixels, per_image, scalars
from dermrobust.attacks.logits import succeeded
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.randomness import on_the_sphere
from dermrobust.attacks.stepping import Method, State, StepFn, run
from dermrobust.attacks.target import LogitsFn
from dermrobust.attacks.threat import Images, Norm

_MOMENTUM = 0.75
"""Weight of the gradient step; the rest goes along the previous move (alpha in the paper)."""
_RISING_SHARE = 0.75
"""Fraction of a window's steps that must raise the loss, or the step size is halved (rho in the paper)."""


class _Progress(NamedTuple):
    """State of Auto-PGD, with a row for each image.

    Attributes:
        best: image with the largest loss so far; the first field, since it is the result (see `State`).
        current: image that the next step starts from.
        previous: image before it, for momentum.
        gradient: gradient at the current image.
        best_gradient: gradient at the best image, so that a restart from there costs no evaluation.
        step_size: length of the next step.
        value: loss of the image evaluated last.
        best_value: loss of the best image.
        checked_value: loss of the best image at the last checkpoint.
        rises: number of steps since then that raised the loss.
        halved: whether the step size was halved there.
        aims: class that the loss refers to beside the true one.
    """

    best: Any
    current: Any
    previous: Any
    gradient: Any
    best_gradient: Any
    step_size: Any
    value: Any
    best_value: Any
    checked_value: Any
    rises: Any
    halved: Any
    aims: Any


_SCALARS = (tf.float32, tf.float32, tf.float32, tf.float32, tf.float32, tf.bool, tf.int64)
"""Types of the fields that are one number for each image: from `step_size` on."""


class _Region(NamedTuple):
    """Clean images, budget and bounds."""

    clean: Any
    radius: Any
    lower: Any
    upper: Any
    norm: Norm


# One program for each architecture, shape, norm and loss. The cache keeps traced programs and with them memory, so it
# is bounded; 16 is more than one run attacks with.
@functools.lru_cache(maxsize=16)
def _compiled(logits: LogitsFn, slack: float, shape: Shape, norm: Norm, targeted: bool, loss: losses.LossFn) -> StepFn:
    """Return the compiled step; its constants are radius, lower bound, upper bound and the checkpoints."""

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
        progress = _Progress(*state)
        evaluated = _moved(progress, iteration, _Region(clean, radius, lower, upper, norm))
        with tf.GradientTape() as tape:
            tape.watch(evaluated)
            outputs = logits(weights, evaluated)
            found = loss(outputs, classes, progress.aims)
        success = succeeded(outputs, classes, targeted=targeted, slack=slack)
        # No step follows the last evaluation of an image, or one that ends it, so no gradient either. Images of a small
        # batch end together; in a batch that is refilled some image nearly always goes on.
        ends = (iteration == tf.size(window) - 1) | (success & stop)
        gradient = tf.cond(
            tf.reduce_all(ends),
            lambda: tf.zeros_like(evaluated),
            lambda: existing(tape.gradient(found, evaluated)),
        )
        progress = _recorded(progress, evaluated, found, gradient, first=iteration == 0, keep=success & stop)
        return tuple(_checked(progress, tf.gather(window, iteration))), success

    specs = [per_image(shape)] * 5 + [per_image((), dtype) for dtype in _SCALARS]
    return compile_step(body, specs, shape, [*scalars(3), tf.TensorSpec([None], tf.float32)])


def _moved(progress: _Progress, iteration: tf.Tensor, region: _Region) -> tf.Tensor:
    """Return the images of the next evaluation: a gradient step with momentum, projected into the budget."""
    clean, radius, lower, upper, norm = region
    least, largest = tf.maximum(clean - radius, lower), tf.minimum(clean + radius, upper)

    def back(images: tf.Tensor) -> tf.Tensor:
        if norm is Norm.LINF:
            # Budget and bounds are one box, so one operation clips to both.
            return tf.raw_ops.ClipByValue(t=images, clip_value_min=least, clip_value_max=largest)
        return projected(images, clean, radius, lower, upper, norm)

    current, previous = progress.current, progress.previous
    # Projected twice, as published: momentum is taken relative to a step that already lies in the budget.
    stepped = back(current + over_pixels(progress.step_size) * optimize_linear(progress.gradient, 1.0, norm.order))
    # The first step has no previous move; its full length is the paper's x(1).
    share = over_pixels(tf.where(iteration == 1, 1.0, _MOMENTUM))
    moved = back(current + share * (stepped - current) + (1 - share) * (current - previous))
    # Iteration 0 evaluates the start: images of one batch are at different iterations, so this is no Python branch.
    return tf.where(over_pixels(iteration == 0), current, moved)


def _recorded(
    progress: _Progress, evaluated: tf.Tensor, found: tf.Tensor, gradient: tf.Tensor, *, first: tf.Tensor, keep: Any
) -> _Progress:
    """Return the state after an evaluation; images to `keep` become the result whatever their loss."""
    better = first | (found > progress.best_value)
    return progress._replace(
        # An image can err at a smaller loss than an earlier one that did not, for instance with the ratio.
        best=tf.where(over_pixels(better | keep), evaluated, progress.best),
        current=evaluated,
        previous=progress.current,
        gradient=gradient,
        best_gradient=tf.where(over_pixels(better), gradient, progress.best_gradient),
        value=found,
        best_value=tf.where(better, found, progress.best_value),
        checked_value=tf.where(first, found, progress.checked_value),
        rises=progress.rises + tf.where(~first & (found > progress.value), 1.0, 0.0),
    )


def _checked(progress: _Progress, length: tf.Tensor) -> _Progress:
    """Return the state after a checkpoint: where progress was rare, halve the step and go on from the best image.

    Args:
        progress: state after the evaluation.
        length: length of the window that ends here, float32 [batch]; 0 where no window ends.
    """
    check = length > 0
    # The paper's two conditions (section 3.2): the loss rose too rarely, or neither step size nor best loss changed.
    oscillates = progress.rises <= _RISING_SHARE * length
    stuck = ~progress.halved & (progress.checked_value >= progress.best_value)
    halve = check & (oscillates | stuck)
    return progress._replace(
        current=tf.where(over_pixels(halve), progress.best, progress.current),
        gradient=tf.where(over_pixels(halve), progress.best_gradient, progress.gradient),
        step_size=tf.where(halve, progress.step_size / 2, progress.step_size),
        checked_value=tf.where(check, progress.best_value, progress.checked_value),
        rises=tf.where(check, 0.0, progress.rises),
        halved=tf.where(check, halve, progress.halved),
    )


def auto_pgd(problem: Problem, loss: losses.LossFn, steps: int) -> Images:
    """Maximize a loss from a random start; see `dermrobust.attacks.apgd`, and `l1_auto_pgd` under L1.

    Args:
        problem: images to attack; the loss refers to its goals, if it has some.
        loss: the loss.
        steps: number of gradient steps after the evaluation of the start.
    """
    threat, target = problem.threat, problem.target
    if threat.norm is Norm.L1:
        return l1_auto_pgd(problem, loss, steps)
    compiled = _compiled(target.logits, target.slack, problem.images.shape[1:], threat.norm, problem.targeted, loss)
    constants = [tf.constant(value, tf.float32) for value in (threat.radius, threat.bounds.lower, threat.bounds.upper)]
    window = tf.constant(checkpoints(steps), tf.float32)

    def start(part: Problem) -> list[npt.NDArray[Any]]:
        images, nothing = on_the_sphere(part), np.zeros(part.images.shape, np.float32)
        count = len(images)
        zeros = np.zeros(count, np.float32)
        # The first step is twice the budget, as published: it can cross the whole ball.
        step_size = np.full(count, 2.0 * threat.radius, np.float32)
        # `halved` starts as true, so that the first checkpoint does not take the start for being stuck.
        flags = np.ones(count, bool)
        return [images, images, images, nothing, nothing, step_size, zeros, zeros, zeros, zeros, flags, part.aims]

    def step(*arguments: Any) -> tuple[State, tf.Tensor]:
        return compiled(*arguments, *constants, window)

    return run(problem, Method(start, step, steps + 1))
