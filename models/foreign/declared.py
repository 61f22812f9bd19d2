"""Input shape that a model file declares, read without TensorFlow."""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path

from dermrobust.attacks.errors import UserError
from dermrobust.models.image_size import Size, size_of

SMALL = 64 * 2**20
"""Bytes that any file may unpack to."""
EXPANSION = 4
"""How many times its size a larger file may unpack to."""

_CHUNK = 2**20
"""Bytes that are unpacked at a time."""

DeclaredShape = tuple[int | None, ...]
"""(batch, height, width, channels); None where any length is taken."""


def check_regular(path: Path) -> None:
    """Refuse what is no regular file: a pipe would be waited for, and a device read, without end.

    Raises:
        UserError: The message names it.
    """
    if not path.is_file():
        raise UserError(f"'{path}' is no regular file; give a .keras or .onnx file, or the folder of a SavedModel")


def check_unpacked_size(path: Path) -> None:
    """Refuse a `.keras` file that unpacks to far more than its size: Keras itself stores weights uncompressed.

    Raises:
        UserError: The file is such a decompression bomb, states wrong sizes, or is packed unusually.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError):
        return
    unpacked = sum(info.file_size for info in members)
    if unpacked > max(SMALL, EXPANSION * path.stat().st_size):
        raise UserError(
            f"'{path}' would unpack to {unpacked / 2**20:,.0f} MiB, far more than its size: that is no model. Save it "
            "again with Keras: model.save('model.keras')"
        )
    # What is stored as it is cannot be larger than the file; what is packed may be larger than it states.
    packed = [info for info in members if info.compress_type != zipfile.ZIP_STORED]
    try:
        with zipfile.ZipFile(path) as archive:
            for info in packed:
                _check_member(archive, info)
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise UserError(f"'{path}' is damaged: {error}. Save it again with Keras: model.save('model.keras')") from error


def _check_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
    """Read a packed member to its end; a wrong size or checksum raises `BadZipFile`."""
    if info.compress_type != zipfile.ZIP_DEFLATED:
        # With other methods `zipfile` unpacks without limit.
        raise NotImplementedError(f"'{info.filename}' is packed by a method other than deflate")
    with archive.open(info) as file:
        while file.read(_CHUNK):
            pass


def declared_input(path: Path) -> DeclaredShape | None:
    """Return the input shape that a `.keras` file declares; None if it declares none, or is no such file.

    Raises:
        UserError: See `check_regular` and `check_unpacked_size`.
    """
    check_regular(path)
    check_unpacked_size(path)
    try:
        with zipfile.ZipFile(path) as archive:
            saved = json.loads(archive.read("config.json"))
        config = saved["config"]
        inputs = [layer for layer in config.get("layers", ()) if layer["class_name"] == "InputLayer"]
        if inputs:
            return tuple(inputs[0]["config"]["batch_shape"])
        # Subclassed models have no layers in their config, but Keras stores the shape that they were built with.
        shape = (saved.get("build_config") or {}).get("input_shape")
        return tuple(shape) if shape else None
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError):
        return None


def declared_size(shape: DeclaredShape) -> Size | None:
    """Return the image size of an input shape; None where it takes images of more than one size.

    Raises:
        UserError: The input is not a batch of color images.
    """
    check_color_images(shape)
    height, width = shape[1:3]
    return None if height is None or width is None else size_of(height, width)


def check_color_images(shape: DeclaredShape) -> None:
    """Refuse an input that is not a batch of color images.

    Raises:
        UserError: The message gives the shape, and the one that is needed.
    """
    if len(shape) != 4 or shape[3] not in (3, None):
        raise UserError(
            f"the model takes {list(shape)}; color images [batch, height, width, 3] are needed (channels last)"
        )
    if shape[0] is not None:
        raise UserError(f"the model takes batches of {shape[0]} only; build it with a free batch size (None)")


def check_image_size(shape: DeclaredShape, height: int, width: int) -> None:
    """Refuse an input of color images of another size.

    Raises:
        UserError: The message gives both sizes.
    """
    if shape[1] not in (None, height) or shape[2] not in (None, width):
        raise UserError(f"the model takes images of {shape[1]} x {shape[2]} pixels, which is not {height} x {width}")
