"""Targets whose gradients, and if their answers are random also their outputs, are means over draws."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from dermrobust.attacks.splitmix import noise_of
from dermrobust.attacks.target import LogitsFn, Target


def averaged_target(
    target: Target, draws: int, *, spread: float = 0.0, random: bool = False, estimated: bool = False
) -> Target:
    """Return a target whose gradient is a mean over draws; its surrogates are not changed.

    Args:
        target: the classifier, or an approximation that has no `exact` one.
        draws: number of evaluations that a gradient is the mean of.
        spread: largest random change of each value before an evaluation, on the scale of the images. The
            mean is then the gradient of a smoothed classifier, which crosses steps and ripples that are narrower.
        random: whether the model answers differently each time. Outputs are means over the draws as well: Expectation
            over Transformation (Athalye et al. 2018, arXiv 1802.00420).
        estimated: whether gradients are estimated from the outputs at both sides of the image, which asks the model
            2 * `draws` times and differentiates nothing (SPSA, Uesato et al. 2018, arXiv 1802.05666).
    """
    return dataclasses.replace(target, logits=_averaged(target.logits, draws, spread, random, estimated))


def voting_target(target: Target, evaluations: int) -> Target:
    """Return a target whose outputs are the shares of evaluations that answer each class; it has no gradient."""
    return dataclasses.replace(target, logits=_votes(target.logits, evaluations))


# The same function object for the same logits: compiled steps are cached by it.
@functools.lru_cache(maxsize=32)
def _averaged(logits: LogitsFn, draws: int, spread: float, random: bool, estimated: bool) -> LogitsFn:
    slope = _estimate if estimated else _derivative

    def averaged(weights: Any, images: tf.Tensor) -> tf.Tensor:
        def answers(shown: tf.Tensor, draw: tf.Tensor) -> tf.Tensor:
            return _turned(logits, weights, shown, draw) if random else logits(weights, shown)

        @tf.custom_gradient
        def outputs(shown: tf.Tensor) -> Any:
            def gradient(upstream: tf.Tensor, variables: Any = None) -> Any:
                total = _sum(
                    lambda draw: slope(answers, shown, draw, spread, upstream), range(draws), tf.zeros_like(shown)
                )
                found = total / float(draws)
                return found if variables is None else (found, [None] * len(variables))

            if not random:
                return logits(weights, shown), gradient
            first = answers(shown, tf.constant(0))
            return _sum(lambda draw: answers(shown, draw), range(1, draws), first) / float(draws), gradient

        return outputs(images)

    return averaged


def _sum(of_draw: Callable[[tf.Tensor], tf.Tensor], draws: range, start: tf.Tensor) -> tf.Tensor:
    """Return a tensor plus the sum of a function of each draw, one after another: memory does not grow with them."""
    _, total = tf.while_loop(
        lambda draw, total: draw < draws.stop,
        lambda draw, total: (draw + 1, total + of_draw(draw)),
        (tf.constant(draws.start), start),
        shape_invariants=(tf.TensorShape([]), start.shape),
        parallel_iterations=1,
    )
    return total


def _derivative(answers: Any, images: tf.Tensor, draw: tf.Tensor, spread: float, upstream: tf.Tensor) -> tf.Tensor:
    shown = images + spread * noise_of(images, draw) if spread else tf.identity(images)
    with tf.GradientTape() as tape:
        tape.watch(shown)
        outputs = answers(shown, draw)
    return tape.gradient(outputs, shown, upstream, tf.UnconnectedGradients.ZERO)


def _estimate(answers: Any, images: tf.Tensor, draw: tf.Tensor, spread: float, upstream: tf.Tensor) -> tf.Tensor:
    signs = tf.sign(noise_of(images, draw))
    rise = answers(images + spread * signs, draw) - answers(images - spread * signs, draw)
    # Of +1 and -1 the inverse is the number itself, so that the quotient of SPSA is a product.
    return tf.reduce_sum(upstream * rise, axis=1)[:, None, None, None] * signs / (2.0 * spread)


def _turned(logits: LogitsFn, weights: Any, images: tf.Tensor, draw: tf.Tensor) -> tf.Tensor:
    """Return logits of images that stand `draw` places further in the batch, back in their order.

    Layers that draw from a fixed seed answer alike in every call, but differently at each place of the batch.
    """
    return tf.roll(logits(weights, tf.roll(images, draw, axis=0)), -draw, axis=0)


@functools.lru_cache(maxsize=16)
def _votes(logits: LogitsFn, evaluations: int) -> LogitsFn:
    def votes(weights: Any, images: tf.Tensor) -> tf.Tensor:
        def vote(draw: tf.Tensor) -> tf.Tensor:
            answers = _turned(logits, weights, images, draw)
            return tf.one_hot(tf.argmax(answers, axis=-1), tf.shape(answers)[-1])

        return _sum(vote, range(1, evaluations), vote(tf.constant(0))) / float(evaluations)

    return votes
