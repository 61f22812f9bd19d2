"""Exported model, loaded for serving."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from dermrobust.attacks.errors import UserError
from dermrobust.components.export.files import DESCRIPTION
from dermrobust.pipeline.serving.requests import PredictRequest, Signature


class ServedModel:
    """The newest version below an export directory.

    Attributes:
        version: number of the version.
        signatures: signatures by name.
        description: content of `dermrobust.json`, see docs/serving.md.
    """

    def __init__(self, directory: Path) -> None:
        """Load the model.

        Raises:
            UserError: nothing is exported there.
        """
        folder = _newest(directory)
        self.version = int(folder.name)
        self.description: Mapping[str, Any] = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        self.signatures: Mapping[str, Signature] = {
            name: _signature(name, found) for name, found in self.description["signatures"].items()
        }
        import tensorflow as tf

        # Kept, since its functions hold its variables by weak references only.
        self._model = tf.saved_model.load(str(folder))
        self._functions = {name: self._model.signatures[name] for name in self.signatures}

    def predict(self, request: PredictRequest) -> dict[str, npt.NDArray[Any]]:
        """Return the outputs by name, each [n, ...] in the order of the instances."""
        import tensorflow as tf

        function = self._functions[request.signature.name]
        values = request.values.tolist() if request.signature.encoded else request.values
        outputs = function(**{request.signature.input: tf.constant(values)})
        return {name: value.numpy() for name, value in outputs.items()}


def _newest(directory: Path) -> Path:
    """Return the folder of the highest version; the directory may also be that of one version."""
    if (directory / DESCRIPTION).is_file() and directory.name.isdecimal():
        return directory
    versions = [each for each in directory.glob("*") if each.name.isdecimal() and (each / DESCRIPTION).is_file()]
    if not versions:
        raise UserError(
            f"nothing is exported in '{directory}'; a run exports its model if the gate blesses it: dermrobust run"
        )
    return max(versions, key=lambda each: int(each.name))


def _signature(name: str, found: Mapping[str, Any]) -> Signature:
    ((given, spec),) = found["inputs"].items()
    return Signature(name, given, tuple(spec["shape"][1:]), spec["dtype"] == "string")
