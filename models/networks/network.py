"""Interface of networks: Keras 3 classifiers from images to logits."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from dermrobust.models.image_size import InputShape

if TYPE_CHECKING:
    import keras

HEAD = "logits"
"""Name of the last layer. It starts from random weights, since it depends on the classes, unless a network keeps it."""


class Network(BaseModel, abc.ABC):
    """Architecture and initial weights; the fields are its parameters.

    Each subclass declares a field `network: Literal[...]`, its name in a config. Keras is imported inside methods, so
    that configs are checked without it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @abc.abstractmethod
    def build(self, input_shape: InputShape, class_count: int, seed: int) -> keras.Model:
        """Return a network from float32 [batch, height, width, 3] in [0, 1] to logits [batch, class_count].

        Random weights depend on the seed alone. Every layer is named, the last one `HEAD`: names that Keras counts up
        would differ from one model of a process to the next, and with them the saved bytes and the architecture by
        which compiled attacks are shared.

        Args:
            input_shape: (height, width, 3).
            class_count: Number of logits.
            seed: Seed of the random weights and of dropout.

        Raises:
            UserError: Pretrained weights are not there, or are not those that the network was written for.
        """

    @property
    def pretrained(self) -> bool:
        """Whether all layers, but for the head of most networks, start from trained weights."""
        return False

    def weights_digest(self) -> str:
        """Return a digest of initial weights that a user provides; empty where code and versions determine them.

        Raises:
            UserError: The file of the weights cannot be read.
        """
        return ""
