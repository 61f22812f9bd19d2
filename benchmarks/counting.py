"""Classifiers that count how often an attack evaluates them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from dermrobust.attacks.target import Target


class Evaluations(NamedTuple):
    """Images for which a network was evaluated.

    Attributes:
        forward: images whose logits were computed.
        gradients: images whose gradient was computed as well.
    """

    forward: int
    gradients: int

    @property
    def work(self) -> int:
        """Evaluations in forward passes: a gradient takes two besides its own."""
        return self.forward + 2 * self.gradients


def counting(target: Target) -> tuple[Target, Callable[[], Evaluations]]:
    """Return a target that counts its evaluations, and what it has counted; `target.exact` is not counted."""
    forward, gradients = (tf.Variable(0, dtype=tf.int64, trainable=False) for _ in range(2))

    @tf.custom_gradient
    def counted(images: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        forward.assign_add(tf.shape(images, out_type=tf.int64)[0])

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            gradients.assign_add(tf.shape(upstream, out_type=tf.int64)[0])
            return upstream

        return tf.identity(images), gradient

    def logits(weights: Any, images: Any) -> Any:
        return target.logits(weights, counted(images))

    return (
        dataclasses.replace(target, logits=logits),
        lambda: Evaluations(int(forward.numpy()), int(gradients.numpy())),
    )
