"""Projection onto the intersection of an L1 ball and the bounds of images."""

from __future__ import annotations

import tensorflow as tf

_MOST = 100
"""Largest number of iterations; a step of an attack needs two or three, a normal change of every value nine."""
_FREE, _HALVED = 12, 3
"""After so many iterations of Newton's method one in three halves the bracket."""
_CLOSE = 2e-6
"""Relative error of the length at which the search ends; sums of float32 are not more exact."""


def projected_l1(
    images: tf.Tensor, clean: tf.Tensor, radius: tf.Tensor, lower: tf.Tensor, upper: tf.Tensor
) -> tf.Tensor:
    """Return the nearest images that are both within an L1 distance of the clean ones and within the bounds.

    Every change is made smaller by the same amount, the threshold, down to zero, and is then cut off at the bounds
    (Croce & Hein 2021, arXiv 2103.01208, section 2). To project onto the ball and to clip afterwards would leave part
    of the budget unused.

    Args:
        images: float32 [batch, height, width, 3].
        clean: centers of the balls, like images, within the bounds.
        radius: L1 distance on the scale of the images, [] or [batch, 1, 1, 1].
        lower: lower bound, [].
        upper: upper bound, [].
    """
    change = images - clean
    size = tf.abs(change)
    room = tf.where(change > 0, upper - clean, clean - lower)
    kept = _kept(size, room, _threshold(size, room, radius))
    return tf.clip_by_value(clean + tf.sign(change) * kept, lower, upper)


def _kept(size: tf.Tensor, room: tf.Tensor, threshold: tf.Tensor) -> tf.Tensor:
    return tf.minimum(tf.maximum(size - threshold, 0.0), room)


def _threshold(size: tf.Tensor, room: tf.Tensor, radius: tf.Tensor) -> tf.Tensor:
    """Return by how much changes are made smaller, so that they add up to the radius: [batch, 1, 1, 1], 0 inside."""
    axes = [1, 2, 3]

    def excess_at(threshold: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(_kept(size, room, threshold), axes, keepdims=True) - radius

    # The sum falls with the threshold and is piecewise linear, so that Newton's method ends at the exact value. The sum
    # is neither convex nor concave: Newton's method can leave the bracket, stand on a level piece, or creep along short
    # ones, and then halving the bracket goes on. The paper sorts the ends of all pieces instead, which takes longer
    # than a few passes over the images.
    def step(
        count: tf.Tensor, threshold: tf.Tensor, excess: tf.Tensor, least: tf.Tensor, most: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        left = size - threshold
        falling = tf.reduce_sum(tf.cast((left > 0) & (left < room), tf.float32), axes, keepdims=True)
        least = tf.where(excess > 0, threshold, least)
        most = tf.where(excess > 0, most, threshold)
        newton = threshold + excess / tf.maximum(falling, 1.0)
        useful = (falling > 0) & (newton > least) & (newton < most) & ((count < _FREE) | (count % _HALVED > 0))
        tried = tf.where(useful, newton, (least + most) / 2)
        # Images that are done keep what they have: it must not depend on the others of the batch.
        done = is_close(excess)
        return count + 1, tf.where(done, threshold, tried), tf.where(done, excess, excess_at(tried)), least, most

    def is_close(excess: tf.Tensor) -> tf.Tensor:
        return tf.abs(excess) <= _CLOSE * radius

    def is_open(count: tf.Tensor, _: tf.Tensor, excess: tf.Tensor, *__: tf.Tensor) -> tf.Tensor:
        return (count < _MOST) & ~tf.reduce_all(is_close(excess))

    none = tf.zeros_like(size[:, :1, :1, :1])
    # Inside the ball nothing is made smaller: an excess of zero ends the search at once.
    start = tf.maximum(excess_at(none), 0.0)
    largest = tf.reduce_max(size, axes, keepdims=True)
    search = (tf.constant(0), none, start, none, largest)
    _, threshold, excess, _, most = tf.while_loop(is_open, step, search, parallel_iterations=1)
    # Where a threshold is so large that float32 has no closer one, the one that stays in the ball.
    return tf.where(excess <= _CLOSE * radius, threshold, most)
