"""Crafting of adversarial images during training, with the functions of CleverHans.

The loop over the steps is one `tf.while_loop`, so that neither the graph nor its compile time grows with their number.
The network runs in inference mode: that is the function an attacker meets, its moving averages do not see unfinished
images, and no batch statistics are computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import keras
import tensorflow as tf
from cleverhans.tf2.utils import clip_eta, compute_gradient, optimize_linear

LossFn = Callable[..., tf.Tensor]
"""(labels=, logits=) -> float32 [batch]; `labels` are the targets of the images."""

_DIRECTION, _LENGTH = 1, 2
"""Numbers folded into a seed, which make different draws from it independent."""


@dataclass(frozen=True)
class Ball:
    """Images within a budget of clean ones.

    Attributes:
        clean: Centers, float32 [batch, height, width, 3] in [0, 1].
        radius: Budget on the same scale, a float32 scalar, or [batch, 1, 1, 1]: one for each image.
        order: Order of the norm, infinity or 2.
    """

    clean: tf.Tensor
    radius: tf.Tensor
    order: float

    def project(self, images: tf.Tensor) -> tf.Tensor:
        """Return images projected into the budget and into [0, 1]."""
        # Clipping to [0, 1] comes last: it only moves an image closer to the clean one, which lies inside.
        return tf.clip_by_value(self.clean + clip_eta(images - self.clean, self.order, self.radius), 0.0, 1.0)

    def random_point(self, seed: tf.Tensor) -> tf.Tensor:
        """Return uniformly random images of the budget, clipped to [0, 1]; seed: int32 [2]."""
        shape = tf.shape(self.clean)
        direction_seed = tf.random.experimental.stateless_fold_in(seed, _DIRECTION)
        if math.isinf(self.order):
            noise = tf.random.stateless_uniform(shape, direction_seed, -1.0, 1.0)
        else:
            # Uniform in a ball of n dimensions: a uniform direction, and a length of U^(1/n).
            direction = tf.random.stateless_normal(shape, direction_seed)
            length_seed = tf.random.experimental.stateless_fold_in(seed, _LENGTH)
            dimensions = tf.cast(tf.reduce_prod(shape[1:]), tf.float32)
            length = tf.random.stateless_uniform((shape[0], 1, 1, 1), length_seed) ** (1.0 / dimensions)
            noise = length * optimize_linear(direction, 1.0, self.order)
        return self.project(self.clean + self.radius * noise)

    def gaussian_point(self, seed: tf.Tensor, deviation: float) -> tf.Tensor:
        """Return normally distributed images around the clean ones; seed: int32 [2]."""
        direction_seed = tf.random.experimental.stateless_fold_in(seed, _DIRECTION)
        return self.project(self.clean + deviation * tf.random.stateless_normal(tf.shape(self.clean), direction_seed))


def inference_logits(network: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return the attacked function, from images to logits."""

    # `compute_gradient` is a tf.function, whose autograph would convert all code of the network at each tracing.
    @tf.autograph.experimental.do_not_convert
    def logits(images: tf.Tensor) -> tf.Tensor:
        return network(images, training=False)

    return logits


def ascend(
    network: keras.Model,
    ball: Ball,
    start: tf.Tensor,
    targets: tf.Tensor,
    *,
    step_length: tf.Tensor,
    steps: int,
    loss: LossFn = tf.nn.sparse_softmax_cross_entropy_with_logits,
) -> tf.Tensor:
    """Return images of a ball with a high loss, by projected gradient ascent (Madry et al. 2018, arXiv 1706.06083).

    Args:
        network: From images to logits.
        ball: Allowed images.
        start: Images of the ball, float32 [batch, height, width, 3].
        targets: Targets of the loss: labels, int64 [batch], or probabilities, float32 [batch, class_count].
        step_length: Length of a step on images in [0, 1], a float32 scalar, or [batch, 1, 1, 1].
        steps: Number of steps.
        loss: Loss to maximize.
    """
    logits = inference_logits(network)

    def step(index: tf.Tensor, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        gradient = compute_gradient(logits, loss, images, targets, False)
        return index + 1, ball.project(images + optimize_linear(gradient, step_length, ball.order))

    # One iteration at a time: each needs the result of the one before, and several would hold their memory at once.
    _, images = tf.while_loop(lambda index, _: index < steps, step, (0, start), parallel_iterations=1)
    return tf.stop_gradient(images)
