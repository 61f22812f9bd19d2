"""Decoding inside the exported model: an image that cannot be used gets a status and leaves the others as they are.

Everything is done by operations of TensorFlow's own runtime, so that every server and language binding can run it.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from dermrobust.models.image_formats import ACCEPTED, MAX_PIXELS
from dermrobust.models.pixels import from_encoded
from dermrobust.models.preprocessing import Preprocessing

OK = "ok"
"""Status of an image that is classified."""
_CHOICE = f"{', '.join(list(ACCEPTED)[:-1])} or {list(ACCEPTED)[-1]}"
_EMPTY = "empty"
_TOO_LARGE = f"too large: more than {MAX_PIXELS} pixels"

# Formats that clients are likely to send by mistake, with the bytes that stand at an offset. decode_image of TensorFlow
# 2.21 reads WebP, but older servers do not, and no model was trained on such files: ingest refuses them.
_REFUSED = (("WebP", 8, b"WEBP"), ("TIFF", 0, b"II*\0"), ("TIFF", 0, b"MM\0*"), ("HEIC", 4, b"ftypheic"))
_SIGNATURES = (*((0, first) for first in ACCEPTED.values()), *((start, content) for _, start, content in _REFUSED))
"""Offset and bytes. The kind of an image is the index of its signature, or their number if it has none of them."""
_REASONS = (
    *(f"truncated or damaged {name} image" for name in ACCEPTED),
    *(f"{name} is not supported: send {_CHOICE}" for name, _, _ in _REFUSED),
    f"not a {_CHOICE} image",
)
"""Status of an image of each kind that is not classified."""
_HEADER_BYTES = 32
"""Enough for every signature, and for the height and width in the header of a PNG, BMP or GIF."""


def decode_each(encoded: tf.Tensor, preprocessing: Preprocessing) -> tuple[tf.Tensor, tf.Tensor]:
    """Decode and preprocess images some of which may be unusable.

    Args:
        encoded: string [count], the content of image files.
        preprocessing: preprocessing of the training images.

    Returns:
        Two tensors: uint8 pixels [count, height, width, 3], the result of `from_encoded` or zeros; and string statuses
        [count], `OK` or the reason why the pixels are zeros.
    """
    kinds = _kinds(encoded)
    positions, fits, pixels = _decode_decodable(encoded, kinds, preprocessing)
    # The last row is the blank image, for all images that have no row of their own.
    blank = tf.size(positions) - 1
    rows = tf.fill([tf.size(encoded) + 1], blank)
    rows = tf.tensor_scatter_nd_update(rows, positions[:, tf.newaxis], tf.range(blank + 1))[:-1]
    reasons = tf.where(tf.strings.length(encoded) > 0, tf.gather(_REASONS, kinds), _EMPTY)
    statuses = tf.where(tf.gather(fits, rows), OK, _TOO_LARGE)
    return tf.gather(pixels, rows), tf.where(rows < blank, statuses, reasons)


def _kinds(encoded: tf.Tensor) -> tf.Tensor:
    """Return the kind of each image by its first bytes: string [count] -> int64 [count]."""
    headers = _header(encoded)
    matches = [
        tf.reduce_all(headers[:, start : start + len(content)] == tuple(content), axis=1)
        for start, content in _SIGNATURES
    ]
    # argmax returns the first of equals; the last column holds for images that match no signature.
    return tf.argmax(tf.cast(tf.stack([*matches, tf.ones_like(matches[0])], axis=1), tf.int32), axis=1)


def _header(encoded: tf.Tensor) -> tf.Tensor:
    """Return the first bytes, padded with zeros: string [...] -> int64 [..., _HEADER_BYTES]."""
    return tf.cast(tf.io.decode_raw(encoded, tf.uint8, fixed_length=_HEADER_BYTES), tf.int64)


def _decode_decodable(
    encoded: tf.Tensor, kinds: tf.Tensor, preprocessing: Preprocessing
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Decode the images of accepted formats that are not damaged.

    Args:
        encoded: string [count], the content of image files.
        kinds: int64 [count], their formats.
        preprocessing: preprocessing of the training images.

    Returns:
        Three tensors with a row for each such image, in order, and a last one for a blank image: its position in the
        batch (`count` for the blank image), whether it is small enough to be decoded, and its pixels.
    """
    shape = preprocessing.input_shape
    count = tf.size(encoded, tf.int64)

    def decode(position: tf.Tensor, content: tf.Tensor, kind: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        fits = _claimed_pixels(content, kind) <= MAX_PIXELS
        pixels = tf.cond(fits, lambda: from_encoded(content, preprocessing), lambda: tf.zeros(shape, tf.uint8))
        return position, fits, tf.ensure_shape(pixels, shape)

    images = tf.data.Dataset.from_tensor_slices((tf.range(count), encoded, kinds))
    images = images.filter(lambda position, content, kind: kind < len(ACCEPTED))
    # The decoders raise an error for damaged content. No operation of a graph catches one, but a data set can drop the
    # elements that raise one.
    decoded = images.map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).ignore_errors()
    # The blank image keeps the data set from being empty, on which get_single_element would raise.
    blank = tf.data.Dataset.from_tensors((count, False, tf.zeros(shape, tf.uint8)))
    return decoded.concatenate(blank).batch(count + 1).get_single_element()


def _claimed_pixels(content: tf.Tensor, kind: tf.Tensor) -> tf.Tensor:
    """Return height times width of one image by its header, before anything is decoded: int64 [].

    The frames of a GIF may exceed the screen that its header claims; they are bounded by the decoder's own 2^29 bytes.
    """
    header = _header(content)

    def product(height: Sequence[int], width: Sequence[int], dtype: tf.DType = tf.int64) -> tf.Tensor:
        sides = (tf.cast(_integer(header, places), dtype) for places in (height, width))
        return tf.reduce_prod([tf.cast(side, tf.int64) for side in sides])

    claims = {
        "JPEG": lambda: tf.reduce_prod(tf.io.extract_jpeg_shape(content, tf.int64)[:2]),
        "PNG": lambda: product((23, 22, 21, 20), (19, 18, 17, 16)),
        # The sign of a BMP's height tells the order of the rows.
        "BMP": lambda: tf.abs(product((22, 23, 24, 25), (18, 19, 20, 21), tf.int32)),
        "GIF": lambda: product((8, 9), (6, 7)),
    }
    return tf.switch_case(tf.cast(kind, tf.int32), [claims[name] for name in ACCEPTED])


def _integer(header: tf.Tensor, places: Sequence[int]) -> tf.Tensor:
    """Return the number whose bytes stand at these places of a header, the least significant first: int64 []."""
    return tf.reduce_sum(tf.gather(header, places) * [256**power for power in range(len(places))])
