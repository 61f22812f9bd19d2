"""Folding of batch normalization into convolutions: the logits of a trained network with less computation.

In inference batch normalization is a fixed scale and offset for each channel. Multiplied into the kernel before it
(Jacob et al. 2018, arXiv 1712.05877, section 3.2) it costs nothing, forward and backward.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
from keras import layers
from keras.src.models.functional import Functional

_FOLDABLE = (layers.Conv2D, layers.DepthwiseConv2D, layers.Dense)
_ALWAYS_FLOAT32 = (layers.DepthwiseConv2D,)
"""Layers that compute in float32 among others in bfloat16, for which TensorFlow (2.21) has no fast depthwise kernel on
CPUs: EfficientNet-Lite0 in bfloat16 takes more than twice as long with it, and less time than in float32 without it."""


@keras.saving.register_keras_serializable("dermrobust")
class FoldedNormalization(layers.Layer):
    """Identity in the place of a batch normalization that was folded into the layer before it."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Return the inputs."""
        del mask
        return inputs


def foldable_pairs(network: keras.Model) -> Mapping[str, str]:
    """Return the names of layers into which batch normalization can be folded, each with that of the normalization.

    Such a layer is a convolution or dense layer without activation whose only use is as the input of one batch
    normalization over the last axis. Networks that contain networks, or that are no graph of layers, have none.
    """
    if not is_graph_of_layers(network):
        return {}
    return {
        layer.name: user.name
        for layer in network.layers
        if type(layer) in _FOLDABLE and (user := _only_user(layer)) is not None and _can_take(layer, user)
    }


def is_graph_of_layers(network: keras.Model) -> bool:
    """Return whether a network is functional and contains no networks, so that it can be rebuilt layer by layer."""
    return isinstance(network, Functional) and not any(isinstance(layer, keras.Model) for layer in network.layers)


def _only_user(layer: layers.Layer) -> layers.Layer | None:
    # A layer that is used twice would be folded for both uses, though only one is normalized.
    users = [node.operation for node in layer._outbound_nodes]
    return users[0] if len(users) == 1 and len(layer._inbound_nodes) == 1 else None


def _can_take(layer: layers.Layer, user: layers.Layer) -> bool:
    # Exact types: a subclass may compute anything.
    if type(user) is not layers.BatchNormalization or len(user._inbound_nodes) != 1:
        return False
    last = len(layer.output.shape) - 1
    axis = user.axis if user.axis >= 0 else last + 1 + user.axis
    return layer.activation is keras.activations.linear and axis == last and _channels_last(layer)


def _channels_last(layer: layers.Layer) -> bool:
    return getattr(layer, "data_format", "channels_last") == "channels_last"


def folded_network(network: keras.Model, pairs: Mapping[str, str], precision: str = "float32") -> keras.Model:
    """Return a network of the same architecture with the pairs folded; its weights are still to be `folded_weights`.

    Args:
        network: Graph of layers.
        pairs: See `foldable_pairs`.
        precision: Precision of inner layers, 'float32' or 'bfloat16'. All layers up to the first one with weights, and
            from the last one on, stay float32: bfloat16 has 8 bits, so near 1 it cannot resolve a level of 1/255.
            Depthwise convolutions stay float32 as well.
    """
    folded = set(pairs.values())
    weighted = [layer.name for layer in network.layers if layer.weights and layer.name not in folded]
    inner = _between(network, weighted[0], weighted[-1]) if weighted and precision != "float32" else set()

    def clone(layer: layers.Layer) -> layers.Layer:
        mixed = layer.name in inner and type(layer) not in _ALWAYS_FLOAT32
        policy = f"mixed_{precision}" if mixed else None
        if layer.name in folded:
            return FoldedNormalization(name=layer.name, dtype=policy)
        config = layer.get_config()
        if layer.name in pairs:
            # The offset of the normalization becomes the bias.
            config["use_bias"] = True
        if policy:
            config["dtype"] = policy
        return type(layer).from_config(config)

    return keras.models.clone_model(network, clone_function=clone)


def _between(network: keras.Model, first: str, last: str) -> set[str]:
    """Return the names of the layers between two, in the order of computation."""
    names = [layer.name for layer in network.layers]
    return set(names[names.index(first) + 1 : names.index(last)])


def folded_weights(network: keras.Model, pairs: Mapping[str, str], folded: keras.Model) -> list[tf.Tensor]:
    """Return the values of a folded network's variables, trainable ones first, from the weights of the original."""
    values: dict[int, tf.Tensor] = {}
    for layer in folded.layers:
        original = network.get_layer(layer.name)
        if layer.name in pairs:
            kernel, bias = _combined(original, network.get_layer(pairs[layer.name]))
            values[id(layer.kernel)], values[id(layer.bias)] = kernel, bias
        elif not isinstance(layer, FoldedNormalization):
            values.update(
                (id(variable), tf.convert_to_tensor(source.value))
                for variable, source in zip(layer.variables, original.variables, strict=True)
            )
    return [values[id(variable)] for variable in (*folded.trainable_variables, *folded.non_trainable_variables)]


def _combined(layer: layers.Layer, normalization: layers.BatchNormalization) -> tuple[tf.Tensor, tf.Tensor]:
    """Return kernel and bias of a layer that includes the normalization after it."""
    mean = tf.convert_to_tensor(normalization.moving_mean)
    variance = tf.convert_to_tensor(normalization.moving_variance)
    scale = tf.math.rsqrt(variance + normalization.epsilon)
    if normalization.scale:
        scale *= tf.convert_to_tensor(normalization.gamma)
    bias = -mean * scale
    if layer.use_bias:
        bias += tf.convert_to_tensor(layer.bias) * scale
    if normalization.center:
        bias += tf.convert_to_tensor(normalization.beta)
    kernel = tf.convert_to_tensor(layer.kernel)
    if isinstance(layer, layers.DepthwiseConv2D):
        # The output channels are the last two axes: input channels, and filters for each of them.
        return kernel * tf.reshape(scale, kernel.shape[2:]), bias
    # Of other kernels the last axis is that of the output channels.
    return kernel * scale, bias
