"""Base class of networks that may start from pretrained weights: features, pooling, dropout, and a new head."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING

from pydantic import Field

from dermrobust.models.image_size import InputShape
from dermrobust.models.networks.network import HEAD, Network

if TYPE_CHECKING:
    import keras


class PretrainedNetwork(Network):
    """Network of features from images, whose subclasses declare a field `weights`: a name, or null for random ones."""

    network: str
    weights: str | None
    dropout: float = Field(0.2, ge=0, lt=1, description="Fraction of features that are dropped before the last layer.")

    @property
    def pretrained(self) -> bool:
        """See `Network.pretrained`."""
        return self.weights is not None

    @abc.abstractmethod
    def features(self, images: keras.KerasTensor) -> keras.KerasTensor:
        """Return features [batch, height, width, channels] of images in [0, 1]."""

    @abc.abstractmethod
    def load(self, network: keras.Model) -> None:
        """Set all weights but those of the head to the pretrained ones.

        Raises:
            UserError: The weights are not installed, or are other ones.
        """

    def build(self, input_shape: InputShape, class_count: int, seed: int) -> keras.Model:
        """See `Network.build`."""
        import keras
        from keras import layers

        keras.utils.set_random_seed(seed)
        images = keras.Input(input_shape, name="images")
        x = layers.GlobalAveragePooling2D(name="pool")(self.features(images))
        x = layers.Dropout(self.dropout, name="dropout")(x)
        network = keras.Model(images, layers.Dense(class_count, name=HEAD)(x), name=self.network)
        if self.pretrained:
            self.load(network)
        return network
