"""Compiled step of Sparse-RS."""

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
from dermrobust.attacks.randomness import random_pixels
from dermrobust.attacks.splitmix import constant, mixed
from dermrobust.attacks.stepping import Method, State, StepFn, run
from dermrobust.attacks.target import LogitsFn
from dermrobust.attacks.threat import Images

_UP_TO = (0, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
_DIVISORS = (1, 2, 4, 5, 6, 8, 10, 12, 15, 20)
"""Divisors of the first share up to so many of 10,000 queries, and beyond the last (code of Croce et al. 2022)."""


def counts(pixels: int, budget: int, queries: int, initial_share: float) -> npt.NDArray[np.int32]:
    """Return the number of pixels that each query exchanges: int32 [queries]; entry 0 is not used.

    Args:
        pixels: number of pixels of an image.
        budget: number of pixels that are changed.
        queries: number of queries; the published schedule is for 10,000 and is stretched to any number.
        initial_share: share of the changed pixels that the schedule divides.
    """
    at = (np.arange(queries) * 10_000) // queries
    share = initial_share / np.asarray(_DIVISORS)[np.searchsorted(_UP_TO, at, side="left")]
    # At most as many as there are pixels outside to exchange them for.
    return np.clip((share * budget).astype(np.int32), 1, max(1, pixels - budget))


# Bounded, because the cache keeps traced programs alive.
@functools.lru_cache(maxsize=16)
def _compiled(logits: LogitsFn, shape: Shape, targeted: bool) -> StepFn:
    """Return the compiled step: state (best image, its loss, key, pixels); constants bounds, counts, their largest."""

    def body(
        weights: Any,
        clean: tf.Tensor,
        classes: tf.Tensor,
        iteration: tf.Tensor,
        stop: tf.Tensor,
        state: State,
        lower: tf.Tensor,
        upper: tf.Tensor,
        exchanged: tf.Tensor,
        most: tf.Tensor,
    ) -> tuple[State, tf.Tensor]:
        best, best_loss, key, chosen = state
        # Iteration 0 evaluates the start. Images of one batch are at different iterations, so this is no branch.
        first = iteration == 0
        bits = _bits(key, iteration, shape)
        count = tf.gather(exchanged, iteration)
        removed, added = (_some(bits, among, count, most, shape) for among in (chosen, ~chosen))
        moved = tf.where(added, tf.where(_coins(bits, shape), upper, lower), tf.where(removed, clean, best))
        start = over_pixels(first)
        asked, pixels = tf.where(start, best, moved), tf.where(start, chosen, (chosen & ~removed) | added)

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
            tf.where(over_pixels(better), pixels, chosen),
        )
        return state, success & stop

    specs = [per_image(shape), per_image(()), per_image((), tf.uint64), per_image((*shape[:2], 1), tf.bool)]
    return compile_step(body, specs, shape, [*scalars(2), tf.TensorSpec([None], tf.int32), tf.TensorSpec([], tf.int32)])


def _bits(key: tf.Tensor, iteration: tf.Tensor, shape: Shape) -> tf.Tensor:
    """Return random bits, uint64 [batch, pixels], that depend on an image's key and the iteration alone."""
    pixels = shape[0] * shape[1]
    counter = tf.cast(iteration, tf.uint64)[:, None] * pixels + np.arange(pixels, dtype=np.uint64)
    return mixed(key[:, None], counter)


def _some(bits: tf.Tensor, among: tf.Tensor, count: tf.Tensor, most: tf.Tensor, shape: Shape) -> tf.Tensor:
    """Return exactly `count` random pixels of each image among some: bool [batch, height, width, 1].

    Args:
        bits: random bits, uint64 [batch, pixels].
        among: pixels to choose from, bool [batch, height, width, 1].
        count: number of pixels, int32 [batch].
        most: largest number that a query of the attack has, int32 [].
        shape: shape of an image.
    """
    pixels = shape[0] * shape[1]
    # The pixel's place in the lower bits makes all numbers different: no two pixels tie for the last one.
    upper = tf.bitwise.left_shift(tf.bitwise.right_shift(bits, constant(33)), constant(32))
    rank = tf.cast(upper + np.arange(pixels, dtype=np.uint64), tf.int64)
    rank = tf.where(tf.reshape(among, [-1, pixels]), rank, tf.constant(-1, tf.int64))
    limit = tf.gather(tf.math.top_k(rank, most).values, count[:, None] - 1, batch_dims=1)
    return tf.reshape((rank >= limit) & (rank >= 0), [-1, *shape[:2], 1])


def _coins(bits: tf.Tensor, shape: Shape) -> tf.Tensor:
    """Return a random bit for each channel of each pixel: bool [batch, height, width, 3]."""
    # The lowest bits: `_some` orders by the highest ones.
    coins = [tf.bitwise.bitwise_and(tf.bitwise.right_shift(bits, constant(place)), constant(1)) for place in range(3)]
    return tf.reshape(tf.stack(coins, axis=-1) > constant(0), [-1, *shape])


def sparse_random_search(problem: Problem, queries: int, initial_share: float) -> Images:
    """Exchange changed pixels of the images, and keep what raises the loss; see `dermrobust.attacks.sparse_rs`.

    Args:
        problem: images to attack, under L0.
        queries: number of queries of the model for each image, at least 1.
        initial_share: share of the changed pixels that the schedule divides.
    """
    bounds, shape = problem.threat.bounds, problem.images.shape[1:]
    compiled = _compiled(problem.target.logits, shape, problem.targeted)
    pixels = shape[0] * shape[1]
    exchanged = counts(pixels, max(1, min(int(problem.threat.epsilon), pixels - 1)), queries, initial_share)
    constants = [tf.constant(value, tf.float32) for value in (bounds.lower, bounds.upper)]
    constants += [tf.constant(exchanged), tf.constant(exchanged.max())]

    def start(part: Problem) -> list[npt.NDArray[Any]]:
        images, chosen = random_pixels(part)
        return [images, np.zeros(len(images), np.float32), part.seeds, chosen]

    def step(*arguments: Any) -> tuple[State, tf.Tensor]:
        return compiled(*arguments, *constants)

    return run(problem, Method(start, step, queries))
