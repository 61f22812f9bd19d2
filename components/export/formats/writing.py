"""Export in further formats, each compared with the network."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dermrobust.attacks.errors import UserError
from dermrobust.components.export.formats.exporter import Exporter, Floats
from dermrobust.components.export.formats.registry import EXPORTERS

if TYPE_CHECKING:
    import keras

FOLDER = "assets.extra"
"""Folder of the SavedModel that TensorFlow leaves alone."""


def exporters(names: Sequence[str]) -> dict[str, Exporter]:
    """Return exporters by the names of their formats.

    Raises:
        UserError: a format needs packages that are not installed.
    """
    found: dict[str, Exporter] = {name: EXPORTERS.resolve(name)() for name in names}
    for name, exporter in found.items():
        missing = [module for module in exporter.requires if importlib.util.find_spec(module) is None]
        if missing:
            raise UserError(
                f"export.formats: '{name}' needs {', '.join(missing)}; install them with: "
                f"pip install 'dermrobust[{exporter.extra}]'"
            )
    return found


def write(formats: Mapping[str, Exporter], network: keras.Model, saved: Path, images: Floats) -> dict[str, Floats]:
    """Write a network into the folder of its SavedModel in further formats, and return what these compute.

    Args:
        formats: exporters by the names of their formats.
        network: network from images to logits.
        saved: folder of the SavedModel.
        images: images float32 [count, height, width, 3] in [0, 1].

    Returns:
        Probabilities float32 [count, classes] by the name of the format.
    """
    import keras

    if not formats:
        return {}
    taken = keras.Input(network.input_shape[1:], name="images")
    returned = keras.layers.Softmax(name="probabilities")(network(taken))
    whole = keras.Model(taken, returned, name="classifier")
    (saved / FOLDER).mkdir(exist_ok=True)
    answers = {}
    for name, exporter in formats.items():
        path = saved / FOLDER / exporter.file
        exporter.write(whole, path)
        answers[name] = exporter.probabilities(path, images)
    return answers
