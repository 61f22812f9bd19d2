"""ONNX, for runtimes other than TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from dermrobust.components.export.formats.exporter import Exporter, Floats

if TYPE_CHECKING:
    import keras


class ONNX(Exporter):
    """Keras's own export, which stands on tf2onnx; compared by ONNX Runtime on the CPU."""

    file: ClassVar[str] = "model.onnx"
    requires: ClassVar[tuple[str, ...]] = ("tf2onnx", "onnx", "onnxruntime")
    extra: ClassVar[str] = "onnx"

    def write(self, network: keras.Model, path: Path) -> None:
        """See `Exporter.write`."""
        network.export(str(path), format="onnx", verbose=False)

    def probabilities(self, path: Path, images: Floats) -> Floats:
        """See `Exporter.probabilities`."""
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        (found,) = session.run(None, {session.get_inputs()[0].name: images})
        return np.asarray(found)
