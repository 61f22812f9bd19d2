"""Names that a SavedModel can hold."""

from __future__ import annotations

import re

import keras

_AT_ROOT = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")
"""Names that TensorFlow accepts at the root of a graph; Keras accepts more for layers."""
_PREFIX = "layer"


def nameable(network: keras.Model) -> keras.Model:
    """Return a network whose layers have names that a SavedModel can hold: itself, or a copy with changed names.

    Raises:
        RuntimeError: names must be changed, but the network is no graph of layers.
    """
    wrong = [layer.name for layer in network.layers if not _AT_ROOT.fullmatch(layer.name)]
    if not wrong:
        return network

    def renamed(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if layer.name in wrong:
            config["name"] = _PREFIX + re.sub(r"[^A-Za-z0-9_.\\/>-]", "_", layer.name)
        return type(layer).from_config(config)

    try:
        copy = keras.models.clone_model(network, clone_function=renamed)
    except ValueError as error:
        raise RuntimeError(
            f"export: the name '{wrong[0]}' of a layer cannot stand in a SavedModel, and this network cannot be copied "
            f"with other names: {error}. Rename the layer"
        ) from error
    copy.set_weights(network.get_weights())
    return copy
