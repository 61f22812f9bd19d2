"""Networks that build and train in seconds, and images that they can learn."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras import layers

from dermrobust.attacks.problem import Labels
from dermrobust.attacks.target import LogitsFn, Target
from dermrobust.attacks.threat import Pixels
from dermrobust.models.image_size import InputShape
from dermrobust.models.networks.network import Network

CLASS_COUNT = 7


def tiny_network(input_shape: InputShape, class_count: int, seed: int, first: str = "conv") -> keras.Model:
    """Convolution, named `first`, batch normalization and dropout, as real networks have; see `Network.build`."""
    keras.utils.set_random_seed(seed)
    images = keras.Input(input_shape, name="images")
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name=first)(images)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(momentum=0.9, name="bn")(x))
    x = layers.Dropout(0.1, name="dropout")(layers.Flatten(name="flatten")(x))
    return keras.Model(images, layers.Dense(class_count, name="logits")(x), name="tiny")


class TinyNetwork(Network):
    """The tiny network as a config selects it, with a name that Keras accepts and TensorFlow's graphs do not."""

    network: Literal["tiny"] = "tiny"

    def build(self, input_shape: InputShape, class_count: int, seed: int) -> keras.Model:
        return tiny_network(input_shape, class_count, seed, first="_conv")


def colored_images(count: int, image_size: int = 8, seed: int = 0) -> tuple[Pixels, Labels]:
    """Noise whose average colour tells the class; near enough to each other that an attack can move one to another."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASS_COUNT, count)
    colors = 110 + 30 * np.array([[label & 1, label >> 1 & 1, label >> 2] for label in range(1, CLASS_COUNT + 1)])
    noise = random.normal(0, 20, (count, image_size, image_size, 3))
    pixels = np.clip(np.rint(colors[labels][:, None, None, :] + noise), 0, 255).astype(np.uint8)
    return pixels, labels.astype(np.int64)


def trained_network(pixels: Pixels, labels: Labels, *, seed: int = 0, class_count: int = CLASS_COUNT) -> keras.Model:
    """A tiny network that has learnt these images."""
    network = tiny_network(pixels.shape[1:], class_count, seed)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.Adam(0.01), loss)
    network.fit(pixels.astype(np.float32) / 255, labels, batch_size=32, epochs=60, verbose=0)
    return network


def accuracy(network: keras.Model, pixels: Pixels, labels: Labels) -> float:
    logits = network(pixels.astype(np.float32) / 255, training=False).numpy()
    return float((logits.argmax(axis=1) == labels).mean())


def mean_loss(network: keras.Model, images: npt.NDArray[np.float32], labels: Labels) -> float:
    """Cross-entropy of the true classes, which attacks raise."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return float(loss(labels, network(images, training=False)))


def counting_calls(target: Target) -> tuple[Target, Callable[[], int]]:
    """The same target, and a function that tells how often Python ran its logits: once for each tracing."""
    calls = 0
    original: LogitsFn = target.logits

    def counted(weights: Any, images: Any) -> Any:
        nonlocal calls
        calls += 1
        return original(weights, images)

    return Target(logits=counted, weights=target.weights), lambda: calls


def counting_images(target: Target) -> tuple[Target, Callable[[], int]]:
    """The same target, and a function that tells how many images its logits were computed of."""
    seen = 0
    original: LogitsFn = target.logits

    def count(size: Any) -> None:
        nonlocal seen
        seen += int(size)

    def counted(weights: Any, images: Any) -> Any:
        tf.py_function(count, [tf.shape(images)[0]], [])
        return original(weights, images)

    return dataclasses.replace(target, logits=counted), lambda: seen


def linear_target(class_count: int = 3, image_size: int = 4, seed: int = 0) -> Target:
    """A classifier whose logits are a linear function of the image, so that its gradients are known."""
    random = np.random.default_rng(seed)
    weights = random.normal(0, 1, (image_size * image_size * 3, class_count)).astype(np.float32)
    return Target(logits=_linear(class_count, image_size), weights=(tf.constant(weights),))


@functools.cache
def _linear(class_count: int, image_size: int) -> LogitsFn:
    """One function for each architecture, as `Target` asks for."""

    def logits(weights: Any, images: Any) -> Any:
        return tf.reshape(images - 0.5, [-1, image_size * image_size * 3]) @ weights[0]

    return logits
