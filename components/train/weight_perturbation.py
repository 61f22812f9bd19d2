"""Adversarial weight perturbation."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import keras
import tensorflow as tf


@contextlib.contextmanager
def perturbed_weights(network: keras.Model, loss: Callable[[], tf.Tensor], gamma: float) -> Iterator[None]:
    """Move a network's weights to where a loss is higher while the context runs: Wu, Xia & Wang 2020, arXiv 2004.05884.

    Each kernel moves along its own gradient, by `gamma` times its norm; scales and biases stay, as in the published
    code. Afterwards the kernels are what they were, bit by bit. Taking the loss leaves no trace in the batch statistics
    or in generators of random numbers, so within the context dropout is the same again. For use inside a `tf.function`.

    Args:
        network: the network.
        loss: computes the loss of the batch at the network's present weights, a scalar.
        gamma: length of the perturbation relative to the norm of the kernel.
    """
    kernels = [variable for variable in network.trainable_variables if len(variable.shape) > 1]
    states = _values(network.non_trainable_variables)
    with tf.GradientTape() as tape:
        risen = loss()
    gradients = tape.gradient(risen, kernels)
    _assign(network.non_trainable_variables, states)
    weights = _values(kernels)
    _assign(kernels, [_moved(*pair, gamma) for pair in zip(weights, gradients, strict=True)])
    yield
    _assign(kernels, weights)


def _moved(weight: tf.Tensor, gradient: tf.Tensor, gamma: float) -> tf.Tensor:
    direction = tf.math.divide_no_nan(gradient, tf.norm(gradient))
    return weight + gamma * tf.norm(weight) * direction


def _values(variables: Sequence[keras.Variable]) -> list[tf.Tensor]:
    return [tf.identity(variable.value) for variable in variables]


def _assign(variables: Sequence[keras.Variable], values: Sequence[tf.Tensor]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
