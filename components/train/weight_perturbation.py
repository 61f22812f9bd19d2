"""Adversarial weight perturbation (Wu, Xia & Wang 2020, arXiv 2004.05884)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import keras
import tensorflow as tf


@contextlib.contextmanager
def perturbed_weights(network: keras.Model, loss: Callable[[], tf.Tensor], gamma: float) -> Iterator[None]:
    """Move the weights of a network to where a loss is higher, inside the context.

    Each kernel moves along its own gradient, by `gamma` times its norm; scales and biases stay, as in the published
    code. Afterwards the kernels are bit by bit what they were. For use inside a `tf.function`.

    Args:
        network: Network whose weights are moved.
        loss: Computes the loss of the batch at the present weights, a scalar.
        gamma: Length of the perturbation relative to the norm of the kernel.
    """
    # Kernels have two dimensions or more; scales and biases have one.
    kernels = [variable for variable in network.trainable_variables if len(variable.shape) > 1]
    states = _values(network.non_trainable_variables)
    with tf.GradientTape() as tape:
        risen = loss()
    gradients = tape.gradient(risen, kernels)
    # The first loss leaves no trace: batch statistics must see the batch once, and dropout must drop the same units.
    _assign(network.non_trainable_variables, states)
    weights = _values(kernels)
    _assign(kernels, [_moved(*pair, gamma) for pair in zip(weights, gradients, strict=True)])
    yield
    # Put back rather than subtracted, which would round.
    _assign(kernels, weights)


def _moved(weight: tf.Tensor, gradient: tf.Tensor, gamma: float) -> tf.Tensor:
    direction = tf.math.divide_no_nan(gradient, tf.norm(gradient))
    return weight + gamma * tf.norm(weight) * direction


def _values(variables: Sequence[keras.Variable]) -> list[tf.Tensor]:
    return [tf.identity(variable.value) for variable in variables]


def _assign(variables: Sequence[keras.Variable], values: Sequence[tf.Tensor]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
