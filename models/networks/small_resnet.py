"""Small residual network for images of about 32 pixels."""

from __future__ import annotations

import keras

from dermrobust.models.image_size import InputShape
from dermrobust.models.networks.residual import residual_network


def small_resnet(input_shape: InputShape, class_count: int, seed: int) -> keras.Model:
    """Return a residual network of three stages and 0.3 million parameters; see `NetworkFn`."""
    return residual_network(input_shape, class_count, seed, widths=(32, 64, 128), stem_stride=2)
