"""Network of a `.keras` file, to be trained further."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dermrobust.attacks.errors import UserError
from dermrobust.models.foreign.spec import InputFormat
from dermrobust.models.image_size import InputShape
from dermrobust.models.networks.network import HEAD, Network

if TYPE_CHECKING:
    import keras


class KerasFile(Network):
    """Network of a `.keras` file, with a new head in the place of its last dense layer or with its own.

    The file is loaded in safe mode. The network must end in a dense layer, with or without softmax or sigmoid after it,
    and take images of the size that the examples have.
    """

    network: Literal["keras_file"] = Field("keras_file", description="Network of a file, to be trained further.")
    path: str = Field(min_length=1, description="Path of the .keras file.")
    head: Literal["new", "kept"] = Field(
        "new",
        description="Last dense layer: one with random weights (new), or that of the file (kept), for a network that "
        "was trained on the same classes in the same order.",
    )
    input_format: InputFormat = Field(
        default_factory=InputFormat,
        description="Format of the images that the network expects; by default 0..1 without normalization.",
    )

    @property
    def pretrained(self) -> bool:
        """See `Network.pretrained`."""
        return True

    def weights_digest(self) -> str:
        """See `Network.weights_digest`."""
        try:
            return hashlib.sha256(Path(self.path).expanduser().read_bytes()).hexdigest()
        except OSError as error:
            raise UserError(f"train.network.path: '{self.path}' cannot be read: {error.strerror}") from error

    def build(self, input_shape: InputShape, class_count: int, seed: int) -> keras.Model:
        """See `Network.build`."""
        import keras
        from keras import layers

        from dermrobust.models.foreign.networks import features, opened, read_network

        keras.utils.set_random_seed(seed)
        source = opened(read_network(Path(self.path).expanduser()), (input_shape[0], input_shape[1]))
        images, x, last = features(source.network, self.input_format)
        if self.head == "kept" and last.units != class_count:
            raise UserError(
                f"train.network: '{self.path}' has {last.units} outputs, the data have {class_count} classes; set "
                "head to 'new'"
            )
        head = layers.Dense(class_count, use_bias=last.use_bias or self.head == "new", name=HEAD)
        network = keras.Model(images, head(x), name="keras_file")
        if self.head == "kept":
            head.set_weights(last.get_weights())
        return network
