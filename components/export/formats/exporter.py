"""Interface of export formats beside the SavedModel."""

from __future__ import annotations

import abc
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

if TYPE_CHECKING:
    import keras

Floats = np.ndarray[Any, np.dtype[np.float32]]


class Exporter(abc.ABC):
    """Writes a network in a format, and runs what it wrote, so that both can be compared.

    Attributes:
        file: name of the file, in the folder `assets.extra` of the SavedModel.
        requires: modules that must be installed, by the names of their import.
        extra: extra of this package that installs them; empty: they are always there.
    """

    file: ClassVar[str]
    requires: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""

    @abc.abstractmethod
    def write(self, network: keras.Model, path: Path) -> None:
        """Write a network from images float32 [batch, height, width, 3] in [0, 1] to probabilities [batch, classes]."""

    @abc.abstractmethod
    def probabilities(self, path: Path, images: Floats) -> Floats:
        """Return what a written file computes for images: float32 [count, classes]."""
