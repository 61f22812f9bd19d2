"""Image size: one number for a square, (height, width) for any rectangle."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, PlainValidator

SMALLEST, LARGEST = 8, 1024
"""Bounds of a side in pixels. A shard of 512 decoded images of 1024 px takes 1.6 GB on a worker."""

Size = int | tuple[int, int]
"""Side of a square, or (height, width), in pixels."""

InputShape = tuple[int, int, int]
"""(height, width, 3): shape of one image, as Keras's `Input` takes it."""


def read_image_size(value: Any) -> Size:
    """Return the image size that a config gives; [n, n] becomes n, so that equal sizes have equal fingerprints.

    Raises:
        ValueError: The value is neither a side nor a pair of sides, or a side is out of bounds.
    """
    sides = value if isinstance(value, list | tuple) else [value]
    # True is an int in Python.
    if len(sides) not in (1, 2) or any(not isinstance(side, int) or isinstance(side, bool) for side in sides):
        raise ValueError(f"expected one number for a square, or [height, width], in pixels; found {value!r}")
    if not all(SMALLEST <= side <= LARGEST for side in sides):
        raise ValueError(f"a side of an image has {SMALLEST} to {LARGEST} pixels; found {value!r}")
    return size_of(sides[0], sides[-1])


def size_of(height: int, width: int) -> Size:
    """Return the image size of a height and a width in pixels."""
    return height if height == width else (height, width)


def height_and_width(size: Size) -> tuple[int, int]:
    """Return height and width in pixels."""
    return (size, size) if isinstance(size, int) else size


def image_size_title(size: Size) -> str:
    """Return an image size for readers: "64 px", "48 x 64 px"."""
    return f"{size} px" if isinstance(size, int) else f"{size[0]} x {size[1]} px"


_Side = Annotated[int, Field(ge=SMALLEST, le=LARGEST)]

ImageSize = Annotated[Size, PlainValidator(read_image_size, json_schema_input_type=_Side | tuple[_Side, _Side])]
"""Pydantic type of an image size; see `read_image_size`."""
