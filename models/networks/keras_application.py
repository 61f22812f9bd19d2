"""Networks of `keras.applications`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dermrobust.models.foreign.spec import IMAGENET, InputFormat, InputRange
from dermrobust.models.networks.pretrained import PretrainedNetwork

if TYPE_CHECKING:
    import keras

_SIGNED, _BYTES = InputFormat(range=InputRange.SIGNED), InputFormat(range=InputRange.BYTES)
_FORMATS = {
    "ResNet50V2": _SIGNED,
    "MobileNetV2": _SIGNED,
    "DenseNet121": IMAGENET,
    # These normalize images inside.
    "EfficientNetV2B0": _BYTES,
    "ConvNeXtTiny": _BYTES,
}
"""Format of the images that the weights of each network were trained on."""


class KerasApplication(PretrainedNetwork):
    """Network of `keras.applications` with a new head; Keras downloads the weights when it is first built."""

    network: Literal["keras_application"] = Field("keras_application", description="Network of keras.applications.")
    application: Literal["ResNet50V2", "MobileNetV2", "DenseNet121", "EfficientNetV2B0", "ConvNeXtTiny"] = Field(
        "ResNet50V2", description="Its name in keras.applications."
    )
    weights: Literal["imagenet"] | None = Field(
        "imagenet", description="Initial weights: ImageNet, which Keras downloads once; null: random ones."
    )

    def features(self, images: keras.KerasTensor) -> keras.KerasTensor:
        """See `PretrainedNetwork.features`."""
        import keras
        from keras import layers

        scale, offset = _FORMATS[self.application].scale_and_offset()
        scaled = layers.Rescaling(scale, offset=offset, name="rescale")(images)
        # The tensor and not the shape, so that the result is one graph of layers and can be folded.
        backbone = getattr(keras.applications, self.application)(
            include_top=False, weights=self.weights, input_tensor=scaled
        )
        return backbone.output

    def load(self, network: keras.Model) -> None:
        """Do nothing: Keras has loaded the weights with the features."""
