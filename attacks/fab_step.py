"""Compiled step of the Fast Adaptive Boundary attack."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from dermrobust.attacks.cleverhans.gradient_step import existing
from dermrobust.attacks.compiling import Shape, compile_step, over_pixels, per_image, scalars
from dermrobust.attacks.logits import succeeded
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.randomness import on_the_sphere
from dermrobust.attacks.stepping import Method, State, StepFn, run
from dermrobust.attacks.target import LogitsFn
from dermrobust.attacks.threat import Images, Norm

_OVERSHOOT, _BACKWARD, _LARGEST_BIAS = 1.05, 0.9, 0.1
"""Published values: eta, the length of a step in projections; beta, the part of the perturbation that is kept after a
success; and alpha_max, the largest weight of the clean image's projection (Croce & Hein 2020, section 3)."""
_TINY = 1e-12
_MOST_NEWTON_STEPS = 50
"""Newton's method ends by itself, after about 5 steps on images; the limit is for rounding errors."""


class _Progress(NamedTuple):
    """State of FAB, with a row for each image.

    Attributes:
        best: nearest misclassified image so far; the clean image until there is one.
        current: image that the next step starts from.
        distance: distance of the nearest misclassified image from the clean one; infinity until there is one.
        aims: class whose boundary is approached, if there is a goal.
    """

    best: Any
    current: Any
    distance: Any
    aims: Any


class _Plane(NamedTuple):
    """Linear approximation of a decision boundary: points x with slope · (x - current) + value = 0."""

    slope: Any
    value: Any


# Bounded, because the cache keeps traced programs alive.
@functools.lru_cache(maxsize=16)
def _compiled(logits: LogitsFn, shape: Shape, norm: Norm, aimed: bool) -> StepFn:
    """Return the compiled step; its constants are radius, lower and upper bound."""

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
    ) -> tuple[State, tf.Tensor]:
        del iteration
        progress = _Progress(*state)
        current = progress.current

        def forward(images: tf.Tensor) -> tf.Tensor:
            return logits(weights, images)

        plane = (
            _aimed_at(forward, current, classes, progress.aims) if aimed else _nearest(forward, current, classes, norm)
        )
        # The same plane seen from the clean image, without the difference of two large products.
        from_clean = plane._replace(value=plane.value + _sums(plane.slope * (clean - current)))
        ahead = projection(current, plane, lower, upper, norm)
        biased = projection(clean, from_clean, lower, upper, norm)
        # The further the current image is from the plane, the more weight has the direction from the clean one.
        here, there = (tf.maximum(_length(shift, norm), 1e-8) for shift in (ahead, biased))
        share = over_pixels(tf.minimum(here / (here + there), _LARGEST_BIAS))
        moved = (current + _OVERSHOOT * ahead) * (1 - share) + (clean + _OVERSHOOT * biased) * share
        moved = tf.clip_by_value(moved, lower, upper)

        # No slack: the attack runs on the exact model. Whatever the plane was, any error is a success.
        wrong = succeeded(forward(moved), classes, targeted=False, slack=0.0)
        length = _length(moved - clean, norm)
        nearer = wrong & (length < progress.distance)
        distance = tf.where(nearer, length, progress.distance)
        # A step back towards the clean image after each success: the search goes on along the boundary.
        back = clean + _BACKWARD * (moved - clean)
        progress = progress._replace(
            best=tf.where(over_pixels(nearer), moved, progress.best),
            current=tf.where(over_pixels(wrong), back, moved),
            distance=distance,
        )
        return tuple(progress), (distance <= radius) & stop

    specs = [per_image(shape), per_image(shape), per_image(()), per_image((), tf.int64)]
    return compile_step(body, specs, shape, scalars(3))


def _aimed_at(forward: Any, images: tf.Tensor, labels: tf.Tensor, goals: tf.Tensor) -> _Plane:
    """Return the plane between each image's class and its goal: one gradient."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs = forward(images)
        value = tf.gather(outputs, goals, batch_dims=1) - tf.gather(outputs, labels, batch_dims=1)
    return _Plane(existing(tape.gradient(value, images)), value)


def _nearest(forward: Any, images: tf.Tensor, labels: tf.Tensor, norm: Norm) -> _Plane:
    """Return the nearest of the planes between each image's class and the others: a gradient for each class."""
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(images)
        outputs = forward(images)
        differences = tf.unstack(outputs - tf.gather(outputs, labels, batch_dims=1)[:, None], axis=1)
    best, nearest = _Plane(tf.zeros_like(images), tf.zeros_like(differences[0])), tf.fill(tf.shape(labels), np.inf)
    for index, value in enumerate(differences):
        slope = existing(tape.gradient(value, images))
        distance = tf.abs(value) / (_dual_length(slope, norm) + _TINY)
        # An image is at no distance from its own class, which is none of the others.
        closer = (distance < nearest) & (labels != index)
        best = _Plane(tf.where(over_pixels(closer), slope, best.slope), tf.where(closer, value, best.value))
        nearest = tf.where(closer, distance, nearest)
    return best


def projection(images: tf.Tensor, plane: _Plane, lower: tf.Tensor, upper: tf.Tensor, norm: Norm) -> tf.Tensor:
    """Return the shortest perturbation of images that reaches a plane within the bounds: float32, like images.

    Where no image within the bounds lies on the plane, the perturbation ends at the bounds nearest to it.

    Each value moves by min(length * pace, room) towards the plane, with a pace of 1 for L-infinity and of its slope for
    L2. The sum that these moves add is a concave, piecewise linear function of the length. Newton's method therefore
    reaches the root from below, exactly and in few steps. The published code sorts all values instead.

    Args:
        images: float32 [batch, height, width, 3].
        plane: slope like images, and value at these images [batch].
        lower: lower bound.
        upper: upper bound.
        norm: norm of the perturbation.
    """
    # Scaled to a largest slope of 1, so that no product leaves the range of float32.
    size = tf.maximum(tf.reduce_max(tf.abs(plane.slope), axis=[1, 2, 3]), np.finfo(np.float32).tiny)
    slope, needed = plane.slope / over_pixels(size), tf.abs(plane.value) / size
    toward = -tf.sign(slope) * over_pixels(tf.where(plane.value < 0, -1.0, 1.0))
    steep = tf.abs(slope)
    pace = tf.where(steep > 0, 1.0, 0.0) if norm is Norm.LINF else steep
    room = tf.where(toward > 0, upper - images, images - lower)

    def unfinished(number: tf.Tensor, length: tf.Tensor, missing: tf.Tensor) -> tf.Tensor:
        del length
        return (number < _MOST_NEWTON_STEPS) & tf.reduce_any(missing > 0)

    def newton(number: tf.Tensor, length: tf.Tensor, missing: tf.Tensor) -> tuple[Any, Any, Any]:
        free = over_pixels(length) * pace < room
        rate = _sums(tf.where(free, steep * pace, 0.0))
        length = length + tf.where(rate > 0, missing / tf.maximum(rate, _TINY), 0.0)
        left = needed - _sums(steep * tf.minimum(over_pixels(length) * pace, room))
        # Rounding errors must not decide how often an image of a batch is moved.
        return number + 1, length, tf.where((rate > 0) & (left > 1e-6 * needed), left, 0.0)

    start = (tf.constant(0), tf.zeros_like(needed), needed)
    _, length, _ = tf.while_loop(unfinished, newton, start)
    return toward * tf.minimum(over_pixels(length) * pace, room)


def _length(shift: tf.Tensor, norm: Norm) -> tf.Tensor:
    if norm is Norm.LINF:
        return tf.reduce_max(tf.abs(shift), axis=[1, 2, 3])
    return tf.sqrt(_sums(tf.square(shift)))


def _dual_length(slope: tf.Tensor, norm: Norm) -> tf.Tensor:
    return _sums(tf.abs(slope)) if norm is Norm.LINF else tf.sqrt(_sums(tf.square(slope)))


def _sums(values: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(values, axis=[1, 2, 3])


def fast_adaptive_boundary(problem: Problem, steps: int, *, random_start: bool) -> Images:
    """Return the nearest misclassified image that FAB finds of each image, at whatever distance.

    If the problem stops at success, an image is left once one lies in the budget. Where none is found, the image is
    returned unchanged.

    Args:
        problem: images to attack; goals, if it has some, choose the boundary.
        steps: number of steps.
        random_start: whether to start half-way to a random point on the surface of the budget, not at the clean image.
    """
    # What is found lies on the decision boundary: an approximate model would put it on the wrong side of the exact one.
    problem = problem.exactly()
    threat, target, aimed = problem.threat, problem.target, problem.goals is not None
    compiled = _compiled(target.logits, problem.images.shape[1:], threat.norm, aimed)
    constants = [tf.constant(value, tf.float32) for value in (threat.radius, threat.bounds.lower, threat.bounds.upper)]

    def start(part: Problem) -> list[npt.NDArray[Any]]:
        first = (part.images + on_the_sphere(part)) / 2 if random_start else part.images
        return [part.images, first, np.full(len(part.labels), np.inf, np.float32), part.aims]

    def step(*arguments: Any) -> tuple[State, tf.Tensor]:
        return compiled(*arguments, *constants)

    return run(problem, Method(start, step, steps))
