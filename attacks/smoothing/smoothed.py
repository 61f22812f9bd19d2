"""Smoothed classifier as a target of attacks (Salman et al. 2019, arXiv 1906.04584)."""

from __future__ import annotations

import functools
import hashlib
import math
from typing import Any

import tensorflow as tf

from dermrobust.attacks.smoothing.gaussian import Stream, gaussian_noise
from dermrobust.attacks.target import LogitsFn, Target


def smoothed_target(target: Target, *, sigma: float, draws: int, shape: tuple[int, ...], seed: int) -> Target:
    """Return a differentiable approximation of the smoothed classifier; any attack on it is SmoothAdv.

    Its logits are the logarithm of the mean probabilities under noise, so that cross-entropy is the loss of Salman et
    al. 2019, equation 6, and its gradient the expectation over transformations (EOT). The draws are common to all
    steps, as in SmoothAdv, and to all images: the function that an attack climbs does not change under it, and does
    not depend on how images are batched. Whether an attack succeeds is decided by `certificate.predict` on other draws.

    Args:
        target: base classifier; an approximation of it is not used.
        sigma: standard deviation of the noise, on the scale of the images.
        draws: number of draws of noise; a batch of images is so many times as large for the base classifier.
        shape: shape of one image.
        seed: seed of the draws.
    """
    exact = target.exact or target
    key = int.from_bytes(hashlib.sha256(f"smoothed/{seed}".encode()).digest()[:8], "little")
    number = tf.constant(draws, tf.int64)
    stream = tf.constant(int(Stream.ATTACK), tf.uint64)
    noise = sigma * gaussian_noise(tf.constant(key, tf.uint64), tf.constant(0, tf.int64), number, shape, stream)
    return Target(_mean_logits(exact.logits, draws), (noise, *exact.weights))


# The same function object for the same logits: compiled steps are cached by it, so a new one would compile anew. One
# for each number of draws, since a compiled step takes weights of one shape.
@functools.lru_cache(maxsize=16)
def _mean_logits(logits: LogitsFn, draws: int) -> LogitsFn:
    def smoothed(weights: Any, images: Any) -> Any:
        noise, *own = weights
        noisy = tf.reshape(images[:, None] + noise, [-1, *images.shape[1:]])
        found = tf.nn.log_softmax(logits(own, noisy))
        by_image = tf.reshape(found, [-1, draws, found.shape[-1]])
        return tf.reduce_logsumexp(by_image, axis=1) - math.log(draws)

    return smoothed
