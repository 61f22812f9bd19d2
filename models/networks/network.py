"""Interface of networks: Keras 3 classifiers from images to logits."""

from __future__ import annotations

from collections.abc import Callable

import keras

from dermrobust.models.image_size import InputShape

NetworkFn = Callable[[InputShape, int, int], keras.Model]
"""(input_shape, class_count, seed) -> network from float32 [batch, height, width, 3] in [0, 1] to logits.

The initial weights depend on the seed alone. Every layer is named: names that Keras counts up would differ from one
model of a process to the next, and with them the saved bytes and the architecture by which compiled attacks are shared.
"""
