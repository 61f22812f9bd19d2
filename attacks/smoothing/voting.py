"""Votes: how often a classifier returns each class on images with Gaussian noise."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from dermrobust.attacks.blocks import within_memory
from dermrobust.attacks.compiling import Shape
from dermrobust.attacks.errors import AttackError
from dermrobust.attacks.logits import finite, in_scope
from dermrobust.attacks.problem import Seeds
from dermrobust.attacks.smoothing.certificate import Votes
from dermrobust.attacks.smoothing.gaussian import Stream, gaussian_noise
from dermrobust.attacks.target import LogitsFn, Target
from dermrobust.attacks.threat import Images


def noise_seeds(image_ids: Sequence[str], *, sigma: float, seed: int) -> Seeds:
    """Return a seed for each image: uint64 [count], from its id, the deviation of the noise and the run's seed."""
    digests = (hashlib.sha256(f"{seed}/smoothing/{sigma:g}/{image_id}".encode()).digest() for image_id in image_ids)
    return np.asarray([int.from_bytes(digest[:8], "little") for digest in digests], dtype=np.uint64)


@dataclasses.dataclass(frozen=True)
class Voters:
    """A classifier whose class counts under noise are wanted.

    Attributes:
        target: classifier; an approximation of it is never asked.
        class_count: number of classes.
        sigma: standard deviation of the noise, on the scale of the images.
        batch_size: number of noisy images in a forward pass.
    """

    target: Target
    class_count: int
    sigma: float
    batch_size: int = 128

    def votes(
        self, images: Images, seeds: Seeds, *, draws: int, first: int = 0, stream: Stream = Stream.CERTIFICATE
    ) -> Votes:
        """Return how often each class is predicted of each image: int64 [count, class_count].

        Noise is added to the values of images in [0, 1], and the sum is neither clipped nor rounded: a certificate
        holds for noise of exactly this distribution.

        Args:
            images: float32 [count, height, width, 3].
            seeds: uint64 [count], from which the noise of each image follows.
            draws: number of draws of noise for each image.
            first: number of the first draw; votes of other draws are independent.
            stream: sequence of noise.

        Raises:
            AttackError: the logits are not finite under noise, or the memory is too small for one image.
        """
        found, _ = within_memory(
            "smoothing",
            lambda size: self._counted(images, seeds, draws, first, stream, size),
            batch_size=min(self.batch_size, draws),
            count=draws,
        )
        return found

    def _counted(self, images: Images, seeds: Seeds, draws: int, first: int, stream: Stream, size: int) -> Votes:
        target = self.target.exact or self.target
        weights = tuple(target.weights)
        specs = tuple(tf.TensorSpec(weight.shape, weight.dtype) for weight in weights)
        count = _compiled(target.logits, specs, images.shape[1:], self.class_count)
        numbers = (
            tf.constant(self.sigma, tf.float32),
            *(tf.constant(value, tf.int64) for value in (first, draws, size)),
            tf.constant(int(stream), tf.uint64),
        )
        try:
            rows = [
                count(weights, tf.constant(image), tf.constant(seed, tf.uint64), *numbers).numpy()
                for image, seed in zip(images, seeds, strict=True)
            ]
        except tf.errors.InvalidArgumentError as error:
            # TensorFlow's type for many errors; `logits.finite` writes this message.
            if "not finite" not in str(error):
                raise
            raise AttackError("smoothing: the model's logits are NaN or infinite under noise") from error
        return np.asarray(rows, np.int64).reshape(len(images), self.class_count)


# Bounded, because the cache keeps traced programs alive. One program for any batch size, number of draws and sigma, and
# for all models of an architecture.
@functools.lru_cache(maxsize=16)
def _compiled(logits: LogitsFn, weights: Any, shape: Shape, class_count: int) -> Callable[..., Any]:
    def count(weights: Any, image: Any, key: Any, sigma: Any, first: Any, draws: Any, size: Any, stream: Any) -> Any:
        def batch(done: Any, counts: Any) -> Any:
            drawn = tf.minimum(size, draws - done)
            noise = gaussian_noise(key, first + done, drawn, shape, stream)
            predicted = tf.argmax(finite(logits(weights, image + sigma * noise)), axis=-1)
            return done + drawn, counts + tf.math.bincount(predicted, minlength=class_count, dtype=tf.int64)

        start = (tf.constant(0, tf.int64), tf.zeros([class_count], tf.int64))
        # One batch at a time: several would hold their activations at once.
        _, counts = tf.while_loop(
            lambda done, _: done < draws,
            batch,
            start,
            shape_invariants=(tf.TensorShape([]), tf.TensorShape([None])),
            parallel_iterations=1,
        )
        return counts

    whole = [tf.TensorSpec([], tf.int64)] * 3
    function = tf.function(in_scope(count), autograph=False)
    concrete: Callable[..., Any] = function.get_concrete_function(
        weights,
        tf.TensorSpec(shape, tf.float32),
        tf.TensorSpec([], tf.uint64),
        tf.TensorSpec([], tf.float32),
        *whole,
        tf.TensorSpec([], tf.uint64),
    )
    return concrete
