"""Residual network for images of about 64 pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dermrobust.models.image_size import InputShape
from dermrobust.models.networks.network import Network

if TYPE_CHECKING:
    import keras


class ResNet(Network):
    """Residual network of four stages and 0.5 million parameters."""

    network: Literal["resnet"] = Field("resnet", description="Four stages, for about 64 pixels.")

    def build(self, input_shape: InputShape, class_count: int, seed: int) -> keras.Model:
        """See `Network.build`."""
        from dermrobust.models.networks.residual import residual_network

        return residual_network(input_shape, class_count, seed, widths=(24, 48, 96, 128), stem_stride=2)
