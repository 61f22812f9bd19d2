"""Image files, good and bad."""

import io
import struct
from typing import Any

import numpy as np
from PIL import Image


def image(format_: str, height: int = 30, width: int = 50, **options: Any) -> bytes:
    """A file of smooth noise, which also a JPEG keeps."""
    coarse = np.random.default_rng(7).integers(0, 256, (5, 5, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(buffer, format_, **options)
    return buffer.getvalue()


def claiming(format_: str, height: int, width: int) -> bytes:
    """A small file whose header claims another size."""
    content = image(format_)
    start, code = {
        "JPEG": (content.find(b"\xff\xc0") + 5, ">HH"),
        "PNG": (16, ">II"),
        "BMP": (18, "<ii"),
        "GIF": (6, "<HH"),
    }[format_]
    sides = (height, width) if format_ == "JPEG" else (width, height)
    return content[:start] + struct.pack(code, *sides) + content[start + struct.calcsize(code) :]
