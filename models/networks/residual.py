"""Residual networks for small images (He et al. 2015, arXiv 1512.03385)."""

from __future__ import annotations

import keras
from keras import layers

from dermrobust.models.image_size import InputShape

# Short training needs statistics that follow the weights quickly: Keras's default of 0.99 lags by hundreds of steps.
_NORMALIZATION_MOMENTUM = 0.9
_DROPOUT = 0.2


def residual_network(
    input_shape: InputShape, class_count: int, seed: int, *, widths: tuple[int, ...], stem_stride: int
) -> keras.Model:
    """Return a residual network with one block per stage; each stage after the first halves height and width.

    Args:
        input_shape: (height, width, 3).
        class_count: Number of logits.
        seed: Seed of the initial weights and of dropout.
        widths: Number of filters of each stage.
        stem_stride: Stride of the first convolution.
    """
    keras.utils.set_random_seed(seed)
    images = keras.Input(input_shape, name="images")
    # Centered inputs: convolutions start without a bias and with weights of mean zero.
    x = layers.Rescaling(2.0, offset=-1.0, name="rescale")(images)
    x = layers.ReLU(name="stem_relu")(_convolution(x, widths[0], 3, stem_stride, "stem"))
    for depth, width in enumerate(widths):
        x = _residual_block(x, width, 1 if depth == 0 else 2, f"block{depth}")
    # Pooling over all positions makes the number of weights independent of the image size.
    x = layers.Dropout(_DROPOUT, name="dropout")(layers.GlobalAveragePooling2D(name="pool")(x))
    return keras.Model(images, layers.Dense(class_count, name="logits")(x), name="residual_network")


def _convolution(x: keras.KerasTensor, filters: int, kernel: int, stride: int, name: str) -> keras.KerasTensor:
    """Return a convolution followed by batch normalization, whose offset makes a bias superfluous."""
    x = layers.Conv2D(filters, kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_conv")(x)
    return layers.BatchNormalization(momentum=_NORMALIZATION_MOMENTUM, name=f"{name}_bn")(x)


def _residual_block(x: keras.KerasTensor, filters: int, stride: int, name: str) -> keras.KerasTensor:
    """Return two 3 x 3 convolutions added to a shortcut."""
    shortcut = x
    if stride != 1 or x.shape[-1] != filters:
        # Option B of the paper: a 1 x 1 convolution where the shape changes, the identity elsewhere.
        shortcut = _convolution(x, filters, 1, stride, f"{name}_shortcut")
    y = layers.ReLU(name=f"{name}_relu1")(_convolution(x, filters, 3, stride, f"{name}_1"))
    y = _convolution(y, filters, 3, 1, f"{name}_2")
    return layers.ReLU(name=f"{name}_relu2")(layers.Add(name=f"{name}_add")([shortcut, y]))
