"""Small residual network for images of about 32 pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dermrobust.models.image_size import InputShape
from dermrobust.models.networks.network import Network

if TYPE_CHECKING:
    import keras


class SmallResNet(Network):
    """Residual network of three stages and 0.3 million parameters."""

    network: Literal["small_resnet"] = Field("small_resnet", description="Three stages, for about 32 pixels.")

    def build(self, input_shape: InputShape, class_count: int, seed: int) -> keras.Model:
        """See `Network.build`."""
        from dermrobust.models.networks.residual import residual_network

        return residual_network(input_shape, class_count, seed, widths=(32, 64, 128), stem_stride=2)
