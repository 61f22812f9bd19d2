"""Images of the page: PNG files as data URIs, and amplified differences."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

_GREY = 128
_REACH = 127
_SIDE = 96
"""Images with a longer side are shown smaller, so that the page stays small."""

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Triptych:
    """A clean image, its adversarial form, and their difference, as data URIs.

    Attributes:
        amplification: factor of the difference; gray is no change.
        largest: largest change of a pixel's channel, in 1/255.
        reduced: whether the images are shown smaller than the network's input.
    """

    clean: str
    adversarial: str
    difference: str
    amplification: int
    largest: int
    reduced: bool

    @property
    def size(self) -> int:
        """Number of characters in the page."""
        return len(self.clean) + len(self.adversarial) + len(self.difference)


def triptych(clean: bytes, adversarial: bytes) -> Triptych | None:
    """Return two PNG images and their amplified difference; None where they cannot be read or have different sizes."""
    before, after = _pixels(clean), _pixels(adversarial)
    if before is None or after is None or before.shape != after.shape:
        return None
    change = after.astype(np.int16) - before.astype(np.int16)
    largest = int(np.abs(change).max(initial=0))
    amplification = max(1, _REACH // largest) if largest else 1
    difference = np.clip(_GREY + change * amplification, 0, 255).astype(np.uint8)
    return Triptych(
        _data_uri(before), _data_uri(after), _data_uri(difference), amplification, largest, max(before.shape) > _SIDE
    )


def _pixels(png: bytes) -> Pixels | None:
    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
            return np.asarray(image.convert("RGB"), np.uint8)
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
        return None


def _data_uri(pixels: Pixels) -> str:
    image = Image.fromarray(pixels)
    if max(image.size) > _SIDE:
        image.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
