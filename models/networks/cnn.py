"""Plain convolutional network for small images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from dermrobust.models.image_size import InputShape
from dermrobust.models.networks.network import HEAD, Network

if TYPE_CHECKING:
    import keras

# Short training needs statistics that follow the weights quickly: Keras's default of 0.99 lags by hundreds of steps.
_NORMALIZATION_MOMENTUM = 0.9


class CNN(Network):
    """Convolutions of stride 2, each with batch normalization and ReLU, then a mean over all positions.

    It has far fewer operations than `small_resnet`, so it is traced and trained sooner.
    """

    network: Literal["cnn"] = Field("cnn", description="Plain convolutions, for about 32 pixels.")
    filters: Annotated[tuple[Annotated[int, Field(ge=1, le=4096)], ...], Field(min_length=1, max_length=16)] = Field(
        (32, 64, 128), description="Filters of each convolution, which halves height and width."
    )

    def build(self, input_shape: InputShape, class_count: int, seed: int) -> keras.Model:
        """See `Network.build`."""
        import keras
        from keras import layers

        keras.utils.set_random_seed(seed)
        images = keras.Input(input_shape, name="images")
        # Centered inputs: convolutions start without a bias and with weights of mean zero.
        x = layers.Rescaling(2.0, offset=-1.0, name="rescale")(images)
        for index, filters in enumerate(self.filters):
            x = layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False, name=f"conv{index}")(x)
            x = layers.BatchNormalization(momentum=_NORMALIZATION_MOMENTUM, name=f"bn{index}")(x)
            x = layers.ReLU(name=f"relu{index}")(x)
        # Pooling over all positions makes the number of weights independent of the image size.
        x = layers.GlobalAveragePooling2D(name="pool")(x)
        return keras.Model(images, layers.Dense(class_count, name=HEAD)(x), name="cnn")
