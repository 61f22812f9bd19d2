"""What a `.keras` file says of its input, read without TensorFlow."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from dermrobust.attacks.errors import UserError

InputShape = tuple[int | None, ...]
"""(batch, height, width, channels); None where a side is free."""


def declared_input(path: Path) -> InputShape | None:
    """Return the input shape that a `.keras` file declares; None where it does not say, or is no such file."""
    try:
        with zipfile.ZipFile(path) as archive:
            saved = json.loads(archive.read("config.json"))
        config = saved["config"]
        inputs = [layer for layer in config.get("layers", ()) if layer["class_name"] == "InputLayer"]
        if inputs:
            return tuple(inputs[0]["config"]["batch_shape"])
        shape = (saved.get("build_config") or {}).get("input_shape")
        return tuple(shape) if shape else None
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError):
        return None


def check_image_shape(shape: InputShape, image_size: int) -> None:
    """Refuse an input that is not a batch of square colour images of a size.

    Raises:
        UserError: what the shape is and what it should be.
    """
    if len(shape) != 4 or shape[3] not in (3, None):
        raise UserError(
            f"the model takes {list(shape)}; colour images [batch, height, width, 3] are needed (channels last)"
        )
    if shape[0] is not None:
        raise UserError(f"the model takes batches of {shape[0]} only; build it with a free batch size (None)")
    if any(side not in (None, image_size) for side in shape[1:3]):
        raise UserError(
            f"the model takes images of {shape[1]} x {shape[2]} pixels, which is not {image_size} x {image_size}"
            + ("" if shape[1] == shape[2] else "; only square images can be audited")
        )
