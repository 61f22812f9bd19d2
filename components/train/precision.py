"""Mixed precision: training in bfloat16 with variables in float32."""

from __future__ import annotations

import keras

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
