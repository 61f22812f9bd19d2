"""Precision of training and of the trained weights; variables are float32."""

from __future__ import annotations

import keras
import tensorflow as tf

from dermrobust.components.train.checkpoint import assign
from dermrobust.models.folding import folded_network


def in_precision(network: keras.Model, precision: str) -> keras.Model:
    """Return a network with the weights of another whose inner layers compute in a precision, to be trained instead.

    What is validated, evaluated and exported is the network in float32: a difference of 1/255 between images is lost in
    the 8 bits of bfloat16.

    Args:
        network: Graph of layers.
        precision: 'float32', for which the network itself is returned, or 'bfloat16'.
    """
    if precision == "float32":
        return network
    mixed = folded_network(network, {}, precision)
    # Cloning copies the architecture only. Layers are the same in the same order, and so are their variables.
    assign(mixed.variables, [variable.value for variable in network.variables])
    return mixed


def round_kernels(network: keras.Model, precision: str) -> None:
    """Round the kernels of a network, in place; biases and the statistics of normalization are few, and stay exact.

    Args:
        network: Network; variables that are not in float32, such as integer tables, stay as they are.
        precision: 'float32', with which nothing changes, or 'bfloat16'.
    """
    if precision == "float32":
        return
    kernels = [each for each in network.variables if each.dtype == "float32" and len(each.shape) > 1]
    assign(kernels, [tf.cast(tf.cast(kernel.value, precision), tf.float32) for kernel in kernels])
