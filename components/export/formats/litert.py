"""LiteRT (formerly TensorFlow Lite), for phones and small devices."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from dermrobust.components.export.formats.exporter import Exporter, Floats

if TYPE_CHECKING:
    import keras


class LiteRT(Exporter):
    """TensorFlow's converter and interpreter; weights stay float32."""

    file: ClassVar[str] = "model.tflite"

    def write(self, network: keras.Model, path: Path) -> None:
        """See `Exporter.write`."""
        import tensorflow as tf

        # Not from a function of the network: its variables would not be part of the file.
        path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(network).convert())

    def probabilities(self, path: Path, images: Floats) -> Floats:
        """See `Exporter.probabilities`."""
        import tensorflow as tf

        interpreter = tf.lite.Interpreter(model_path=str(path))
        (taken,), (returned,) = interpreter.get_input_details(), interpreter.get_output_details()
        interpreter.resize_tensor_input(taken["index"], images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(taken["index"], images)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(returned["index"]))
