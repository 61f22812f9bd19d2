"""Residual network for images of about 64 pixels."""

from __future__ import annotations

import keras

from dermrobust.models.image_size import InputShape
from dermrobust.models.networks.residual import residual_network


def resnet(input_shape: InputShape, class_count: int, seed: int) -> keras.Model:
    """Return a residual network of four stages and 0.5 million parameters; see `NetworkFn`."""
    return residual_network(input_shape, class_count, seed, widths=(24, 48, 96, 128), stem_stride=2)
