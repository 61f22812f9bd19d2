"""Models as other people save them, around one network that has learnt coloured images."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops

from dermrobust.models.foreign.spec import IMAGENET, InputFormat, InputRange
from tests.small_networks import CLASS_COUNT, colored_images, trained_network

SIZE = 16
UNIT, BYTES, SIGNED = (InputFormat(range=values) for values in InputRange)


@functools.cache
def learned() -> keras.Model:
    """A network from images in [0, 1] to logits."""
    return trained_network(*colored_images(400, SIZE))


def with_softmax(x: Any) -> Any:
    return layers.Softmax(name="softmax")(learned()(x))


def in_dense(x: Any) -> Any:
    """The same network, its softmax inside the last layer."""
    *inner, last = learned().layers[1:]
    for layer in inner:
        x = layer(x)
    head = layers.Dense(CLASS_COUNT, activation="softmax", name="head")
    result = head(x)
    head.set_weights(last.get_weights())
    return result


TAKING: Mapping[InputFormat, Callable[[Any], Any]] = {
    UNIT: lambda x: x,
    BYTES: lambda x: x / 255.0,
    SIGNED: lambda x: (x + 1.0) / 2.0,
    IMAGENET: lambda x: x * ops.array(IMAGENET.std) + ops.array(IMAGENET.mean),
}
"""From images in each format to images in [0, 1], without a layer that tells."""


def taking(image_format: InputFormat, head: Callable[[Any], Any] = with_softmax) -> keras.Model:
    """The network for images in a format."""
    images = keras.Input((SIZE, SIZE, 3))
    return keras.Model(images, head(TAKING[image_format](images)))


class Exported(tf.Module):
    """A SavedModel with the signatures that are asked for."""

    def __init__(self, network: keras.Model) -> None:
        super().__init__()
        self.network = network
        self.owned = list(network.variables)

    def save(self, folder: Path, **signatures: Any) -> Path:
        tf.saved_model.save(self, str(folder), signatures=signatures)
        return folder


IMAGES = tf.TensorSpec([None, SIZE, SIZE, 3], tf.float32, "images")


def exported(folder: Path, network: keras.Model, spec: tf.TensorSpec = IMAGES, **functions: Any) -> Path:
    """Export functions of (network, images) as signatures; default: the network's own outputs."""
    module = Exported(network)
    chosen = functions or {"serving_default": lambda network, images: {"scores": network(images, training=False)}}
    made = {
        name: tf.function(functools.partial(function, network), input_signature=[spec])
        for name, function in chosen.items()
    }
    return module.save(folder, **made)
