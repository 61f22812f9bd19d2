"""Compiled step of the Square attack."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from dermrobust.attacks import losses
from dermrobust.attacks.compiling import Shape, compile_step, over_pixels, per_image, scalars
from dermrobust.attacks.logits import succeeded
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.randomness import generator
from dermrobust.attacks.splitmix import mixed, unit
from dermrobust.attacks.stepping import Method, State, StepFn, run
from dermrobust.attacks.target import LogitsFn
from dermrobust.attacks.threat import Images

_NUMBERS = 5
"""Random numbers of a query: the position of the square (2) and the sign of its change in each channel (3)."""
_STEPS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Queries out of 10,000 after which the area of the squares is halved (Andriushchenko et al. 2020, section 5)."""


def sides(shape: Shape, queries: int, initial_share: float) -> npt.NDArray[np.int32]:
    """Return the side of the square of each query in pixels: int32 [queries]; entry 0 is not used."""
    # The published schedule is for 10,000 queries and is stretched to any number of them.
    at = (np.arange(queries) * 10_000) // queries
    share = initial_share / 2.0 ** np.searchsorted(_STEPS, at, side="left")
    # A square must fit into the shorter side and leave a position to choose, as published.
    longest = min(shape[0], shape[1]) - 1
    return np.clip(np.rint(np.sqrt(share * shape[0] * shape[1])), 1, max(longest, 1)).astype(np.int32)


# Bounded, because the cache keeps traced programs alive.
@functools.lru_cache(maxsize=16)
def _compiled(logits: LogitsFn, shape: Shape, targeted: bool) -> StepFn:
    """Return the compiled step: state (best image, its loss, key); constants radius, bounds; then the sides."""

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
        side: tf.Tensor,
    ) -> tuple[State, tf.Tensor]:
        best, best_loss, key = state
        # Iteration 0 evaluates the stripes. Images of one batch are at different iterations, so this is no branch.
        first = iteration == 0
        square, signs = _squares(key, iteration, tf.gather(side, iteration), shape)
        # By twice the budget: clipping then leaves each value of the square at an end of the budget, where errors are
        # most frequent, whichever end it was at before.
        change = tf.where(square, 2.0 * radius * signs, 0.0)
        moved = tf.clip_by_value(tf.clip_by_value(best + change, clean - radius, clean + radius), lower, upper)
        asked = tf.where(over_pixels(first), best, moved)

        outputs = logits(weights, asked)
        # As published: the margin untargeted, cross-entropy targeted.
        loss = losses.targeted_cross_entropy if targeted else losses.margin
        found = loss(outputs, classes, classes)
        # No slack: the attack runs on the exact model.
        success = succeeded(outputs, classes, targeted=targeted, slack=0.0)
        better = first | (found > best_loss) | (success & stop)
        state = (
            tf.where(over_pixels(better), asked, best),
            tf.where(better, found, best_loss),
            key,
        )
        return state, success & stop

    specs = [per_image(shape), per_image(()), per_image((), tf.uint64)]
    return compile_step(body, specs, shape, [*scalars(3), tf.TensorSpec([None], tf.int32)])


def _squares(key: tf.Tensor, iteration: tf.Tensor, side: tf.Tensor, shape: Shape) -> tuple[tf.Tensor, tf.Tensor]:
    """Return where each image's square is, bool [batch, height, width, 1], and signs float32 [batch, 1, 1, 3]."""
    numbers = _uniform(key, iteration)
    place = []
    for axis, length in enumerate(shape[:2]):
        free = tf.cast(length - side, tf.float32)
        # The product can round up to `free`, so the corner is held inside.
        corner = tf.minimum(tf.cast(numbers[:, axis] * free, tf.int32), length - side)[:, None]
        along = tf.range(length)[None, :]
        place.append((along >= corner) & (along < corner + side[:, None]))
    # A mask instead of an assignment: squares of one batch differ in position and size.
    square = place[0][:, :, None, None] & place[1][:, None, :, None]
    return square, tf.sign(numbers[:, 2:] - 0.5)[:, None, None, :]


def _uniform(key: tf.Tensor, iteration: tf.Tensor) -> tf.Tensor:
    """Return numbers in [0, 1), float32 [batch, 5], that depend on an image's key and the iteration alone."""
    counter = tf.cast(iteration, tf.uint64)[:, None] * _NUMBERS + tf.constant(list(range(_NUMBERS)), tf.uint64)[None, :]
    return unit(mixed(key[:, None], counter))


def square_attack(problem: Problem, queries: int, initial_share: float) -> Images:
    """Change random squares of the images and keep the changes that raise the loss; see `dermrobust.attacks.square`.

    Args:
        problem: images to attack, under L-infinity.
        queries: number of queries of the model for each image, at least 1.
        initial_share: fraction of the image area that the first squares cover.
    """
    threat, shape = problem.threat, problem.images.shape[1:]
    compiled = _compiled(problem.target.logits, shape, problem.targeted)
    constants = [tf.constant(value, tf.float32) for value in (threat.radius, threat.bounds.lower, threat.bounds.upper)]
    side = tf.constant(sides(shape, queries, initial_share))

    def start(part: Problem) -> list[npt.NDArray[Any]]:
        return [_stripes(part), np.zeros(len(part.seeds), np.float32), part.seeds]

    def step(*arguments: Any) -> tuple[State, tf.Tensor]:
        return compiled(*arguments, *constants, side)

    return run(problem, Method(start, step, queries))


def _stripes(problem: Problem) -> Images:
    """Return the images with random vertical stripes, one pixel wide, of the whole budget up or down in each channel.

    The published start: convolutional networks are sensitive to such stripes.
    """
    images, bounds = problem.images, problem.threat.bounds
    signs = [
        generator(seed).integers(0, 2, (1, images.shape[2], 3)).astype(np.float32) * 2 - 1 for seed in problem.seeds
    ]
    return np.clip(images + np.stack(signs) * np.float32(problem.threat.radius), bounds.lower, bounds.upper)
