"""Compiled step of Auto-PGD for L1."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from dermrobust.attacks import losses
from dermrobust.attacks.apgd_schedule import l1_stages
from dermrobust.attacks.cleverhans.gradient_step import existing
from dermrobust.attacks.compiling import Shape, compile_step, over_pixels, per_image, scalars
from dermrobust.attacks.l1_ball import projected_l1
from dermrobust.attacks.logits import succeeded
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.randomness import generator
from dermrobust.attacks.stepping import Method, State, StepFn, run
from dermrobust.attacks.target import LogitsFn
from dermrobust.attacks.threat import Images

_SPARSER = 1.5
"""A step changes as many values as the best image, divided by this."""
_STILL_FALLING = 0.95
"""Below this ratio of changed values between two checks the step size is the largest again."""
_SHRINK, _LEAST = 1.5, 0.1
"""Divisor of the step size where the number of changed values has settled, and the smallest step over the radius."""


class _Progress(NamedTuple):
    """State of Auto-PGD for L1, with a row for each image.

    Attributes:
        best: image with the largest loss in this stage; the first field, since it is the result (see `State`).
        current: image that the next step starts from.
        gradient: gradient at the current image.
        best_gradient: gradient at the best image.
        step_size: length of the next step.
        best_value: loss of the best image.
        changed: number of values that the best image changed at the last check.
        aims: class that the loss refers to beside the true one.
    """

    best: Any
    current: Any
    gradient: Any
    best_gradient: Any
    step_size: Any
    best_value: Any
    changed: Any
    aims: Any


# One program for each architecture, shape and loss; bounded, because the cache keeps traced programs alive.
@functools.lru_cache(maxsize=16)
def _compiled(logits: LogitsFn, slack: float, shape: Shape, targeted: bool, loss: losses.LossFn) -> StepFn:
    """Return the compiled step; its constants are radius, lower bound, upper bound, and the columns of `Stages`."""

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
        radii: tf.Tensor,
        begins: tf.Tensor,
        checks: tf.Tensor,
    ) -> tuple[State, tf.Tensor]:
        progress = _Progress(*state)
        multiple, begin = tf.gather(radii, iteration), tf.gather(begins, iteration)
        reach = radius * multiple
        # A stage starts from the best image of the one before, in the smaller budget.
        moved = tf.where(over_pixels(begin), progress.best, progress.current + _sparse_step(progress))
        evaluated = projected_l1(moved, clean, over_pixels(reach), lower, upper)
        with tf.GradientTape() as tape:
            tape.watch(evaluated)
            outputs = logits(weights, evaluated)
            found = loss(outputs, classes, progress.aims)
        gradient = existing(tape.gradient(found, evaluated))
        # Before the last stage images are outside of the budget, so nothing is a success there.
        success = succeeded(outputs, classes, targeted=targeted, slack=slack) & (multiple == 1.0)
        better = begin | (found > progress.best_value)
        progress = progress._replace(
            best=tf.where(over_pixels(better | (success & stop)), evaluated, progress.best),
            current=evaluated,
            gradient=gradient,
            best_gradient=tf.where(over_pixels(better), gradient, progress.best_gradient),
            best_value=tf.where(better, found, progress.best_value),
        )
        return tuple(_checked(progress, clean, reach, begin, tf.gather(checks, iteration))), success

    specs = [per_image(shape)] * 4 + [per_image(())] * 3 + [per_image((), tf.int64)]
    schedule = [tf.TensorSpec([None], dtype) for dtype in (tf.float32, tf.bool, tf.bool)]
    return compile_step(body, specs, shape, [*scalars(3), *schedule])


def _sparse_step(progress: _Progress) -> tf.Tensor:
    """Return the step along the signs of the largest gradients, all of the same size: like images."""
    shape = tf.shape(progress.gradient)
    size = tf.reshape(tf.abs(progress.gradient), [shape[0], -1])
    values = tf.shape(size)[1]
    # As published: the share of values that a step changes is that of the best image at the last check, made sparser.
    count = tf.cast(values, tf.float32) - tf.floor(tf.cast(values, tf.float32) - progress.changed / _SPARSER)
    count = tf.clip_by_value(tf.cast(count, tf.int32), 1, values)
    # Only as many of the largest as some image of the batch needs: sorting all values takes as long as the gradient.
    largest = tf.math.top_k(size, tf.reduce_max(count)).values
    limit = tf.gather(largest, count[:, None] - 1, batch_dims=1)
    signs = tf.where(size >= limit, tf.sign(tf.reshape(progress.gradient, tf.shape(size))), 0.0)
    length = progress.step_size[:, None] / tf.maximum(tf.reduce_sum(tf.abs(signs), axis=1, keepdims=True), 1.0)
    return tf.reshape(signs * length, shape)


def _checked(progress: _Progress, clean: tf.Tensor, radius: tf.Tensor, begin: tf.Tensor, check: tf.Tensor) -> _Progress:
    """Return the state after a check: the sparsity of the next steps, and their length.

    Where the best image has become sparser, steps are as long as the radius again and go on from there; elsewhere they
    are made shorter.

    Args:
        progress: state after the evaluation.
        clean: clean images.
        radius: budget of the stage on the scale of the images, [batch].
        begin: whether a stage begins here, bool [batch].
        check: whether step size and sparsity are adapted, bool [batch].
    """
    changed = tf.reduce_sum(tf.cast(progress.best != clean, tf.float32), axis=[1, 2, 3])
    sparser = check & (changed < _STILL_FALLING * progress.changed)
    shorter = tf.maximum(progress.step_size / _SHRINK, _LEAST * radius)
    return progress._replace(
        current=tf.where(over_pixels(sparser), progress.best, progress.current),
        gradient=tf.where(over_pixels(sparser), progress.best_gradient, progress.gradient),
        step_size=tf.where(begin | sparser, radius, tf.where(check, shorter, progress.step_size)),
        changed=tf.where(begin | check, changed, progress.changed),
    )


def l1_auto_pgd(problem: Problem, loss: losses.LossFn, steps: int) -> Images:
    """Maximize a loss under L1 (Croce & Hein 2021, arXiv 2103.01208), as AutoAttack does.

    Three stages in three times the budget, in twice the budget, and in it, each from the best image of the one before.
    Steps go along the signs of the largest gradients, and are projected onto the intersection of ball and bounds; how
    many values a step changes follows the sparsity of the best image.

    Args:
        problem: images to attack; the loss refers to its goals, if it has some.
        loss: the loss.
        steps: number of gradient steps of all stages together, after the evaluations of their starts.
    """
    threat, target, shape = problem.threat, problem.target, problem.images.shape[1:]
    compiled = _compiled(target.logits, target.slack, shape, problem.targeted, loss)
    stages = l1_stages(steps)
    constants = [tf.constant(value, tf.float32) for value in (threat.radius, threat.bounds.lower, threat.bounds.upper)]
    constants += [tf.constant(column) for column in stages]

    def start(part: Problem) -> list[npt.NDArray[Any]]:
        images, nothing = part.images, np.zeros(part.images.shape, np.float32)
        # A normal change of every value; the first step projects it.
        noise = [generator(seed).standard_normal(shape, dtype=np.float32) for seed in part.seeds]
        moved = images + np.stack(noise) * np.float32(threat.bounds.width)
        zeros, values = np.zeros(len(images), np.float32), np.full(len(images), math.prod(shape), np.float32)
        return [moved, images, nothing, nothing, zeros, zeros, values, part.aims]

    def step(*arguments: Any) -> tuple[State, tf.Tensor]:
        return compiled(*arguments, *constants)

    return run(problem, Method(start, step, len(stages.radii)))
