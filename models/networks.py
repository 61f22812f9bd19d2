"""Networks: Keras 3 classifiers that take images in [0, 1] and return logits."""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import layers

NetworkFn = Callable[[int, int, int], keras.Model]
"""(image_size, class_count, seed) -> network from float32 [batch, size, size, 3] in [0, 1] to logits."""


def _convolution(x: keras.KerasTensor, filters: int, kernel: int, stride: int, name: str) -> keras.KerasTensor:
    """Convolution without bias followed by batch normalisation (which has the bias)."""
    x = layers.Conv2D(filters, kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_conv")(x)
    return layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)


def _residual_block(x: keras.KerasTensor, filters: int, stride: int, name: str) -> keras.KerasTensor:
    """Two 3 x 3 convolutions beside a shortcut (He et al. 2015, arXiv 1512.03385)."""
    shortcut = x
    if stride != 1 or x.shape[-1] != filters:
        shortcut = _convolution(x, filters, 1, stride, f"{name}_shortcut")
    y = layers.ReLU(name=f"{name}_relu1")(_convolution(x, filters, 3, stride, f"{name}_1"))
    y = _convolution(y, filters, 3, 1, f"{name}_2")
    return layers.ReLU(name=f"{name}_relu2")(layers.Add(name=f"{name}_add")([shortcut, y]))


def _residual_network(
    image_size: int, class_count: int, widths: tuple[int, ...], *, stem_stride: int, dropout: float = 0.2
) -> keras.Model:
    # Every layer is named: names that Keras counts up would differ from one model of a process to the next, and with
    # them the saved bytes and the architecture by which compiled attacks are shared.
    images = keras.Input((image_size, image_size, 3), name="images")
    x = layers.Rescaling(2.0, offset=-1.0, name="rescale")(images)
    x = layers.ReLU(name="stem_relu")(_convolution(x, widths[0], 3, stem_stride, "stem"))
    for depth, width in enumerate(widths):
        x = _residual_block(x, width, 1 if depth == 0 else 2, f"block{depth}")
    x = layers.Dropout(dropout, name="dropout")(layers.GlobalAveragePooling2D(name="pool")(x))
    return keras.Model(images, layers.Dense(class_count, name="logits")(x), name="residual_network")


def small_resnet(image_size: int, class_count: int, seed: int) -> keras.Model:
    """Residual CNN of 0.3 million parameters whose first convolution halves the image."""
    keras.utils.set_random_seed(seed)
    return _residual_network(image_size, class_count, (32, 64, 128), stem_stride=2)


def resnet(image_size: int, class_count: int, seed: int) -> keras.Model:
    """Residual CNN of 0.5 million parameters with four stages, for images of 64 pixels."""
    keras.utils.set_random_seed(seed)
    return _residual_network(image_size, class_count, (24, 48, 96, 128), stem_stride=2)
