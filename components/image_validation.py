"""Validation of image files: whether one can be decoded, at a reasonable size."""

from __future__ import annotations

import enum
import io
import re
import stat
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import simplejpeg
import tensorflow as tf
from PIL import Image

from dermrobust.models.image_formats import ACCEPTED, MAX_PIXELS
from dermrobust.models.pixels import decode

MAX_FILE_BYTES = 64 << 20
MIN_SIDE = 8
"""In pixels; a smaller image shows nothing that could be classified."""

_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a")


class Reason(enum.StrEnum):
    """Reason why a record cannot be used."""

    MISSING_FILE = "missing_file"
    NOT_AN_IMAGE = "not_an_image"
    TRUNCATED_IMAGE = "truncated_image"
    DECOMPRESSION_BOMB = "decompression_bomb"
    TOO_SMALL = "too_small"
    UNKNOWN_LABEL = "unknown_label"
    DUPLICATE_ID = "duplicate_id"
    INVALID_METADATA = "invalid_metadata"


class BadRecord(Exception):
    """Raised for a record that cannot be used; ingest puts it into quarantine.

    Attributes:
        reason: kind of the problem.
        detail: what exactly was found.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


_SCALED_MODES = ("RGB", "L")
"""Modes of JPEG files that libjpeg-turbo converts to RGB; those in CMYK are left to Pillow."""
_SKIPPED = re.compile(r"(\d+) extraneous bytes before marker 0x([0-9a-f]{2})")
"""Warning of libjpeg about bytes that it skips: nothing of the image is missing there."""
_MOST_TRIES = 16
"""How often a file is decoded again without such bytes; one that needs more is damaged."""


@dataclass(frozen=True)
class ImageSize:
    """Height and width in pixels."""

    height: int
    width: int


def check_image(content: bytes) -> ImageSize:
    """Decode an image's whole content and return its size.

    Raises:
        BadRecord: it is not an image, is cut off, is too small, or would need unreasonable memory.
    """
    image = open_image(content)
    width, height = image.size
    if min(width, height) < MIN_SIDE:
        raise BadRecord(Reason.TOO_SMALL, f"{width} x {height} pixels; at least {MIN_SIDE} a side are needed")
    _decode_all(image, content)
    return ImageSize(height=height, width=width)


def open_image(content: bytes) -> Image.Image:
    """Return an image of which the header alone has been read.

    Raises:
        BadRecord: the header is none of an image, or claims a size that would need unreasonable memory.
    """
    check_file_size(len(content))
    try:
        with warnings.catch_warnings():
            # The size is checked below, before anything is decoded.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(content), formats=tuple(ACCEPTED))
    except Image.DecompressionBombError as error:
        raise BadRecord(Reason.DECOMPRESSION_BOMB, str(error)) from error
    except (OSError, SyntaxError, ValueError) as error:
        if content.startswith(_SIGNATURES):
            raise BadRecord(Reason.TRUNCATED_IMAGE, f"{len(content)} bytes without a complete header") from error
        raise BadRecord(Reason.NOT_AN_IMAGE, f"{len(content)} bytes are no JPEG, PNG, BMP or GIF") from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise BadRecord(Reason.DECOMPRESSION_BOMB, f"{width} x {height} pixels; at most {MAX_PIXELS} are decoded")
    return image


def check_file_size(size: int) -> None:
    """Refuse a file that is too large to be read.

    Raises:
        BadRecord: it has more than `MAX_FILE_BYTES` bytes.
    """
    if size > MAX_FILE_BYTES:
        raise BadRecord(Reason.DECOMPRESSION_BOMB, f"{size} bytes; at most {MAX_FILE_BYTES} are read")


def _decode_all(image: Image.Image, content: bytes) -> None:
    try:
        if image.format == "JPEG" and image.mode in _SCALED_MODES:
            _decode_jpeg(content)
        else:
            image.load()
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise BadRecord(Reason.TRUNCATED_IMAGE, str(error)) from error
    try:
        # As preprocess does later: TensorFlow refuses some files that Pillow accepts, such as a BMP of 1 bit.
        decode(tf.constant(content))
    except tf.errors.InvalidArgumentError as error:
        raise BadRecord(Reason.NOT_AN_IMAGE, f"TensorFlow cannot decode it: {error.message}") from error


def _decode_jpeg(content: bytes) -> None:
    """Decode a JPEG file at the smallest scale: all of its content is read, at a fraction of the time.

    Raises:
        ValueError: it cannot be decoded, or a part of it is missing. Pillow and TensorFlow fill that with gray.
    """
    problem, tries = _jpeg_problem(content), iter(range(_MOST_TRIES))
    # The first warning ends decoding, so that nothing is known about what follows skipped bytes. Without them it is.
    while problem is not None and _SKIPPED.search(problem) is not None:
        content, problem = _without_skipped(content, problem, tries)
    if problem is not None:
        raise ValueError(problem)


def _jpeg_problem(content: bytes) -> str | None:
    """Return the first error or warning of libjpeg about a file."""
    try:
        simplejpeg.decode_jpeg(content, min_height=1, min_width=1, strict=True)
    except ValueError as error:
        return str(error)
    return None


def _without_skipped(content: bytes, problem: str, tries: Iterator[int]) -> tuple[bytes, str | None]:
    """Return a file without the bytes that a warning is about, and the problem that is found next.

    The warning names the marker that follows them, not its place: such markers of the file are tried, each of which
    takes one of the tries that are left for the file.
    """
    found = _SKIPPED.search(problem)
    assert found is not None
    count, code = int(found[1]), bytes((int(found[2], 16),))
    # A marker may begin with several bytes 0xff. Without the look back, a run of them would take quadratic time.
    marker = re.compile(rb"(?<!\xff)\xff++" + re.escape(code))
    whole = memoryview(content)
    for match in marker.finditer(content, count + 1):
        if next(tries, None) is None:
            break
        shorter = b"".join((whole[: match.start() - count], whole[match.start() :]))
        if (after := _jpeg_problem(shorter)) != problem:
            return shorter, after
    return content, "too many bytes that belong to nothing"


def read_image_file(path: Path) -> bytes:
    """Return the content of a file that may be an image.

    Raises:
        BadRecord: it is no regular file, which might never end, or is too large to be an image.
        OSError: it cannot be read.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise BadRecord(Reason.MISSING_FILE, f"'{path.name}' is no regular file")
    check_file_size(status.st_size)
    return path.read_bytes()
