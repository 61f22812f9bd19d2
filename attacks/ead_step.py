"""Compiled step of the elastic-net attack."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from dermrobust.attacks import losses
from dermrobust.attacks.cleverhans.gradient_step import existing
from dermrobust.attacks.compiling import Shape, compile_step, over_pixels, per_image, scalars
from dermrobust.attacks.logits import succeeded
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.stepping import Method, State, StepFn, run
from dermrobust.attacks.target import LogitsFn
from dermrobust.attacks.threat import Images

_UNBOUNDED = 1e10
"""Upper end of the binary search until a weight has succeeded."""


class Descent(NamedTuple):
    """Parameters of the attack; see `dermrobust.attacks.ead.EAD`."""

    steps: int
    searches: int
    learning_rate: float
    initial_weight: float
    threshold: float
    confidence: float


class _Progress(NamedTuple):
    """State of the attack, with a row for each image.

    Attributes:
        best: nearest misclassified image so far; the clean image until there is one.
        current: extrapolated image, at which the next gradient is computed (y in the paper).
        previous: image that the last step ended at (x in the paper).
        distance: L1 distance of the nearest misclassified image; infinity until there is one.
        weight: weight of the margin.
        least: largest weight that has failed.
        most: smallest weight that has succeeded.
        found: whether this weight has succeeded.
        aims: class that the margin refers to, if there is a goal.
    """

    best: Any
    current: Any
    previous: Any
    distance: Any
    weight: Any
    least: Any
    most: Any
    found: Any
    aims: Any


class _Constants(NamedTuple):
    """Scalars of a problem: budget, bounds and parameters."""

    radius: Any
    lower: Any
    upper: Any
    steps: Any
    learning_rate: Any
    threshold: Any
    confidence: Any


# Bounded, because the cache keeps traced programs alive.
@functools.lru_cache(maxsize=16)
def _compiled(logits: LogitsFn, shape: Shape, targeted: bool) -> StepFn:
    """Return the compiled step; its constants are those of `_Constants`."""
    margin = losses.targeted_margin if targeted else losses.margin

    def body(
        weights: Any,
        clean: tf.Tensor,
        classes: tf.Tensor,
        iteration: tf.Tensor,
        stop: tf.Tensor,
        state: State,
        *scalars_: tf.Tensor,
    ) -> tuple[State, tf.Tensor]:
        progress, constants = _Progress(*state), _Constants(*scalars_)
        number = tf.cast(iteration, tf.float32) % constants.steps
        width = constants.upper - constants.lower
        current = progress.current
        with tf.GradientTape() as tape:
            tape.watch(current)
            outputs = logits(weights, current)
            found = margin(outputs, classes, progress.aims)
            missing = tf.maximum(constants.confidence - found, 0)
        # On images in [0, 1], which the step size and the threshold are meant for.
        shift = (current - clean) / width
        slope = existing(tape.gradient(missing, current)) * width * over_pixels(progress.weight) + 2 * shift

        # Judged where the gradient is computed: the image that the step ends at would take a second evaluation.
        wrong = succeeded(outputs, classes, targeted=targeted, slack=0.0) & (found >= constants.confidence)
        length = tf.reduce_sum(tf.abs(current - clean), axis=[1, 2, 3])
        nearer = wrong & (length < progress.distance)
        rate = constants.learning_rate * tf.sqrt(1 - number / constants.steps)
        ahead = shift - over_pixels(rate) * slope
        shrunk = tf.sign(ahead) * tf.maximum(tf.abs(ahead) - constants.threshold, 0)
        stepped = tf.clip_by_value(clean + width * shrunk, constants.lower, constants.upper)
        extrapolated = stepped + over_pixels(number / (number + 3)) * (stepped - progress.previous)
        progress = progress._replace(
            best=tf.where(over_pixels(nearer), current, progress.best),
            current=tf.clip_by_value(extrapolated, constants.lower, constants.upper),
            previous=stepped,
            distance=tf.where(nearer, length, progress.distance),
            found=progress.found | wrong,
        )
        progress = _searched(progress, clean, ends=number == constants.steps - 1)
        return tuple(progress), (progress.distance <= constants.radius) & stop

    numbers = [per_image(())] * 4
    specs = [*[per_image(shape)] * 3, *numbers, per_image((), tf.bool), per_image((), tf.int64)]
    return compile_step(body, specs, shape, scalars(len(_Constants._fields)))


def _searched(progress: _Progress, clean: tf.Tensor, *, ends: tf.Tensor) -> _Progress:
    """Return the state with the next weight, and the clean image to start from, where the steps of a weight end."""
    weight, found = progress.weight, progress.found
    most = tf.where(ends & found, tf.minimum(progress.most, weight), progress.most)
    least = tf.where(ends & ~found, tf.maximum(progress.least, weight), progress.least)
    following = tf.where(most < _UNBOUNDED, (least + most) / 2, 10 * weight)
    return progress._replace(
        current=tf.where(over_pixels(ends), clean, progress.current),
        previous=tf.where(over_pixels(ends), clean, progress.previous),
        weight=tf.where(ends, following, weight),
        least=least,
        most=most,
        found=found & ~ends,
    )


def elastic_net(problem: Problem, descent: Descent) -> Images:
    """Return the misclassified image with the least L1 distance that the attack finds, at whatever distance.

    If the problem stops at success, an image is left once one lies in the budget. Where none is found, the image is
    returned unchanged.

    Args:
        problem: images to attack.
        descent: parameters.
    """
    # What is found lies on the decision boundary: an approximate model would put it on the wrong side of the exact one.
    problem = problem.exactly()
    threat, target = problem.threat, problem.target
    compiled = _compiled(target.logits, problem.images.shape[1:], problem.targeted)
    constants = _Constants(
        threat.radius,
        threat.bounds.lower,
        threat.bounds.upper,
        descent.steps,
        descent.learning_rate,
        descent.threshold,
        descent.confidence,
    )
    values = [tf.constant(value, tf.float32) for value in constants]

    def start(part: Problem) -> list[npt.NDArray[Any]]:
        count = len(part.images)
        distance, weight, least, most = (
            np.full(count, value, np.float32) for value in (np.inf, descent.initial_weight, 0, _UNBOUNDED)
        )
        return [*[part.images] * 3, distance, weight, least, most, np.zeros(count, bool), part.aims]

    def step(*arguments: Any) -> tuple[State, tf.Tensor]:
        return compiled(*arguments, *values)

    return run(problem, Method(start, step, descent.steps * descent.searches))
