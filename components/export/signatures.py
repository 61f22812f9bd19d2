"""The signatures of the exported model: from photographs, or from the network's own input, to probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import tensorflow as tf

from dermrobust.models.pixels import from_encoded, to_network_input
from dermrobust.models.preprocessing import Preprocessing

PIXELS = "pixels"
"""Name of the second signature; the first is `serving_default`."""


class ServedClassifier(tf.Module):
    """A network with its preprocessing and class names."""

    def __init__(self, network: keras.Model, preprocessing: Preprocessing, class_names: Sequence[str], labels: Path):
        """Serve a network.

        Args:
            network: from float32 [batch, size, size, 3] in [0, 1] to logits.
            preprocessing: as in training.
            class_names: in the order of the logits.
            labels: a text file with a class name on each line; becomes an asset of the SavedModel.
        """
        super().__init__(name="dermrobust_classifier")
        self._network = network
        self._preprocessing = preprocessing
        self._classes = tf.constant(list(class_names))
        # Keras layers are no tf.Modules: without this the SavedModel would not own the variables.
        self._owned = list(network.variables)
        self.labels = tf.saved_model.Asset(str(labels))

    def _answer(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities = tf.nn.softmax(self._network(images, training=False))
        index = tf.argmax(probabilities, axis=-1)
        return {"probabilities": probabilities, "class_index": index, "class": tf.gather(self._classes, index)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])
    def serve_encoded(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Classify encoded photographs: string [N] -> probabilities [N, class_count], class, class_index [N]."""
        size = self._preprocessing.image_size
        pixels = tf.map_fn(
            lambda encoded: from_encoded(encoded, self._preprocessing),
            image_bytes,
            fn_output_signature=tf.TensorSpec((size, size, 3), tf.uint8),
        )
        return self._answer(to_network_input(pixels))

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """Return the signatures by name."""
        size = self._preprocessing.image_size

        @tf.function(input_signature=[tf.TensorSpec([None, size, size, 3], tf.float32, "images")])
        def serve_pixels(images: tf.Tensor) -> dict[str, tf.Tensor]:
            return self._answer(images)

        self._serve_pixels = serve_pixels
        return {
            "serving_default": self.serve_encoded.get_concrete_function(),
            PIXELS: serve_pixels.get_concrete_function(),
        }
