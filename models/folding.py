"""Batch normalisation folded into convolutions: the same logits from a trained network, with less work.

In inference batch normalisation is a fixed scale and shift for each channel. Multiplied into the kernel before it
(Jacob et al. 2018, arXiv 1712.05877, section 3.2) it costs nothing, forwards and backwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
from keras import layers
from keras.src.models.functional import Functional

_FOLDABLE = (layers.Conv2D, layers.Dense)


@keras.saving.register_keras_serializable("dermrobust")
class Passed(layers.Layer):
    """Stands where a batch normalisation was."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Return the inputs."""
        del mask
        return inputs


def foldable_pairs(network: keras.Model) -> Mapping[str, str]:
    """Return which layers can take which batch normalisation into themselves: names of both.

    A convolution or dense layer, without activation, whose only use is as the input of one batch normalisation over
    the last axis. Networks that contain networks, or that are no graph of layers, are left as they are.
    """
    if not is_graph_of_layers(network):
        return {}
    return {
        layer.name: user.name
        for layer in network.layers
        if type(layer) in _FOLDABLE and (user := _only_user(layer)) is not None and _can_take(layer, user)
    }


def is_graph_of_layers(network: keras.Model) -> bool:
    """Tell whether a network is a functional one without networks inside, which can be rebuilt layer by layer."""
    return isinstance(network, Functional) and not any(isinstance(layer, keras.Model) for layer in network.layers)


def _only_user(layer: layers.Layer) -> layers.Layer | None:
    users = [node.operation for node in layer._outbound_nodes]
    return users[0] if len(users) == 1 and len(layer._inbound_nodes) == 1 else None


def _can_take(layer: layers.Layer, user: layers.Layer) -> bool:
    if type(user) is not layers.BatchNormalization or len(user._inbound_nodes) != 1:
        return False
    last = len(layer.output.shape) - 1
    axis = user.axis if user.axis >= 0 else last + 1 + user.axis
    return layer.activation is keras.activations.linear and axis == last and _channels_last(layer)


def _channels_last(layer: layers.Layer) -> bool:
    return getattr(layer, "data_format", "channels_last") == "channels_last"


def folded_network(network: keras.Model, pairs: Mapping[str, str], precision: str = "float32") -> keras.Model:
    """Return a network of the same architecture but for the pairs; its weights are `folded_weights`, not yet set.

    Args:
        network: a graph of layers.
        pairs: see `foldable_pairs`.
        precision: in which inner layers compute, 'float32' or 'bfloat16'. Up to the first layer with weights and from
            the last one on it stays float32: in bfloat16 a pixel near 1 cannot be told from one a level darker.
    """
    gone = set(pairs.values())
    weighted = [layer.name for layer in network.layers if layer.weights and layer.name not in gone]
    inner = _between(network, weighted[0], weighted[-1]) if weighted and precision != "float32" else set()

    def clone(layer: layers.Layer) -> layers.Layer:
        policy = f"mixed_{precision}" if layer.name in inner else None
        if layer.name in gone:
            return Passed(name=layer.name, dtype=policy)
        config = layer.get_config()
        if layer.name in pairs:
            config["use_bias"] = True
        if policy:
            config["dtype"] = policy
        return type(layer).from_config(config)

    return keras.models.clone_model(network, clone_function=clone)


def _between(network: keras.Model, first: str, last: str) -> set[str]:
    """Return the names of the layers after one and before another, in the order in which the network computes them."""
    names = [layer.name for layer in network.layers]
    return set(names[names.index(first) + 1 : names.index(last)])


def folded_weights(network: keras.Model, pairs: Mapping[str, str], folded: keras.Model) -> list[tf.Tensor]:
    """Return the values of a folded network's variables, trainable ones first, for the weights of the original."""
    values: dict[int, tf.Tensor] = {}
    for layer in folded.layers:
        original = network.get_layer(layer.name)
        if layer.name in pairs:
            kernel, bias = _combined(original, network.get_layer(pairs[layer.name]))
            values[id(layer.kernel)], values[id(layer.bias)] = kernel, bias
        elif not isinstance(layer, Passed):
            values.update(
                (id(variable), tf.convert_to_tensor(source.value))
                for variable, source in zip(layer.variables, original.variables, strict=True)
            )
    return [values[id(variable)] for variable in (*folded.trainable_variables, *folded.non_trainable_variables)]


def _combined(layer: layers.Layer, normalisation: layers.BatchNormalization) -> tuple[tf.Tensor, tf.Tensor]:
    """Return kernel and bias of a layer with the normalisation after it."""
    mean = tf.convert_to_tensor(normalisation.moving_mean)
    variance = tf.convert_to_tensor(normalisation.moving_variance)
    scale = tf.math.rsqrt(variance + normalisation.epsilon)
    if normalisation.scale:
        scale *= tf.convert_to_tensor(normalisation.gamma)
    bias = -mean * scale
    if layer.use_bias:
        bias += tf.convert_to_tensor(layer.bias) * scale
    if normalisation.center:
        bias += tf.convert_to_tensor(normalisation.beta)
    return tf.convert_to_tensor(layer.kernel) * scale, bias
