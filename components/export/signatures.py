"""Signatures of the exported model: from image files, or from the network's own input, to probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf

from dermrobust.components.export.decoding import OK, decode_each
from dermrobust.models.pixels import to_network_input
from dermrobust.models.preprocessing import Preprocessing

ENCODED = tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY
"""Name of the signature that takes image files, `serving_default`: clients that name no signature get this one."""
PIXELS = "pixels"
"""Name of the signature that takes the network's own input."""

Outputs = dict[str, tf.Tensor]


@dataclass(frozen=True)
class ReferralRule:
    """Rule by which an exported model refers images.

    Attributes:
        rate: share of the validation images that it refers.
        temperature: what logits are divided by before the softmax that gives the confidence.
        threshold: confidence below which an image is referred.
    """

    rate: float
    temperature: float
    threshold: float


class ServedClassifier(tf.Module):
    """A network with its preprocessing and class names."""

    def __init__(
        self,
        network: keras.Model,
        preprocessing: Preprocessing,
        class_names: Sequence[str],
        labels: Path,
        referral: ReferralRule | None = None,
    ):
        """Wrap a network.

        Args:
            network: model from float32 [batch, height, width, 3] in [0, 1] to logits.
            preprocessing: preprocessing of the training images.
            class_names: names of the classes, in the order of the logits.
            labels: text file with one class name per line; it becomes an asset of the SavedModel.
            referral: rule of the outputs `confidence` and `refer`; None: there are no such outputs.
        """
        super().__init__(name="dermrobust_classifier")
        self._network = network
        self._preprocessing = preprocessing
        self._referral = referral
        self._classes = tf.constant(list(class_names))
        # A SavedModel restores the variables that its root owns. Keras layers are no tf.Modules, so they are listed
        # here, and as tf.Variables: for a Keras variable tf.saved_model.save makes a second tf.Variable (keras#20095),
        # and loaders of the TensorFlow 1 kind restore that one while signatures read the first (tensorflow#72963).
        self._variables = [variable.value for variable in network.variables]
        self.labels = tf.saved_model.Asset(str(labels))

    def _classify(self, images: tf.Tensor) -> Outputs:
        logits = self._network(images, training=False)
        probabilities = tf.nn.softmax(logits)
        index = tf.argmax(probabilities, axis=-1)
        outputs = {"probabilities": probabilities, "class_index": index, "class": tf.gather(self._classes, index)}
        if self._referral is not None:
            confidence = tf.reduce_max(tf.nn.softmax(logits / self._referral.temperature), axis=-1)
            # Not "confidence < threshold": what is not a number is referred.
            refer = tf.logical_not(confidence >= self._referral.threshold)
            outputs |= {"confidence": confidence, "refer": refer}
        return outputs

    def _classify_encoded(self, image_bytes: tf.Tensor) -> Outputs:
        pixels, status = decode_each(image_bytes, self._preprocessing)
        outputs = self._classify(to_network_input(pixels))
        usable = status == OK
        # An image that cannot be read is one for a doctor.
        referred = (
            {}
            if self._referral is None
            else {
                "confidence": tf.where(usable, outputs["confidence"], float("nan")),
                "refer": outputs["refer"] | ~usable,
            }
        )
        return {
            **referred,
            "probabilities": tf.where(usable[:, tf.newaxis], outputs["probabilities"], float("nan")),
            "class_index": tf.where(usable, outputs["class_index"], -1),
            "class": tf.where(usable, outputs["class"], ""),
            "status": status,
        }

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """Return the signatures by name."""
        encoded = tf.TensorSpec([None], tf.string, "image_bytes")
        images = tf.TensorSpec([None, *self._preprocessing.input_shape], tf.float32, "images")
        return {
            ENCODED: tf.function(self._classify_encoded, input_signature=[encoded]).get_concrete_function(),
            PIXELS: tf.function(self._classify, input_signature=[images]).get_concrete_function(),
        }
