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
EMPTY = "empty"
TOO_LARGE = f"too large: more than {MAX_PIXELS} pixels"
_CHOICE = f"{', '.join(list(ACCEPTED)[:-1])} or {list(ACCEPTED)[-1]}"
UNKNOWN = f"not a {_CHOICE} image"

# Formats that clients are likely to send by mistake, with the bytes that stand at an offset. decode_image of TensorFlow
# 2.21 reads WebP, but older servers do not, and no model was trained on such files: ingest refuses them.
_REFUSED = (("WebP", 8, b"WEBP"), ("TIFF", 0, b"II*\0"), ("TIFF", 0, b"MM\0*"), ("HEIC", 4, b"ftypheic"))
_SIGNATURES = (*((0, first) for first in ACCEPTED.values()), *((start, content) for _, start, content in _REFUSED))
_REASONS = (
    *(f"truncated or damaged {name} image" for name in ACCEPTED),
    *(f"{name} is not supported: send {_CHOICE}" for name, _, _ in _REFUSED),
    UNKNOWN,
)
"""Why an image of each kind is not classified: a kind is the index of a signature, or their number if none matches."""
_HEADER_BYTES = 32
"""More than any signature, and than the header of a PNG, BMP or GIF up to its height and width."""


def decode_each(encoded: tf.Tensor, preprocessing: Preprocessing) -> tuple[tf.Tensor, tf.Tensor]:
    """Decode and preprocess images some of which may be unusable.

    Args:
        encoded: string [count], the content of image files.
        preprocessing: as in training.

    Returns:
        uint8 pixels [count, height, width, 3], the result of `from_encoded` or zeros; and string statuses [count], `OK`
        or the reason why the pixels are zeros.
    """
    kinds = _kinds(encoded)
    candidates = tf.where(kinds < len(ACCEPTED))[:, 0]
    count = tf.size(encoded, tf.int64)
    rows, fits, pixels = _decode(
        candidates, tf.gather(encoded, candidates), tf.gather(kinds, candidates), count, preprocessing
    )
    # The last row is blank: it stands for every image that has no row of its own.
    blank = tf.size(rows) - 1
    chosen = tf.fill([tf.size(encoded) + 1], blank)
    chosen = tf.tensor_scatter_nd_update(chosen, rows[:, tf.newaxis], tf.range(blank + 1))[:-1]
    reasons = tf.where(tf.strings.length(encoded) > 0, tf.gather(_REASONS, kinds), EMPTY)
    decoded = tf.where(tf.gather(fits, chosen), OK, TOO_LARGE)
    return tf.gather(pixels, chosen), tf.where(chosen < blank, decoded, reasons)


def _kinds(encoded: tf.Tensor) -> tf.Tensor:
    """Return the index in `_REASONS` that the first bytes of each image lead to: int64 [count]."""
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


def _decode(
    candidates: tf.Tensor, encoded: tf.Tensor, kinds: tf.Tensor, count: tf.Tensor, preprocessing: Preprocessing
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Decode the images that can be decoded.

    Args:
        candidates: int64 [n], positions in the batch of images with the signature of an accepted format.
        encoded: string [n], their content.
        kinds: int64 [n], their formats.
        count: size of the batch.
        preprocessing: as in training.

    Returns:
        For each image that its decoder accepts, in order, and for a blank one at position `count`: the position, whether
        the image is small enough to be decoded, and its pixels.
    """
    shape = preprocessing.input_shape

    def decode(position: tf.Tensor, content: tf.Tensor, kind: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        fits = _pixel_count(content, kind) <= MAX_PIXELS
        pixels = tf.cond(fits, lambda: from_encoded(content, preprocessing), lambda: tf.zeros(shape, tf.uint8))
        return position, fits, tf.ensure_shape(pixels, shape)

    blank = tf.data.Dataset.from_tensors((count, False, tf.zeros(shape, tf.uint8)))
    images = tf.data.Dataset.from_tensor_slices((candidates, encoded, kinds))
    # The decoders raise an error for damaged content. No operation of a graph catches one, but a data set drops the
    # elements that raise one. The blank image keeps the batch from being empty, which would be an error as well.
    decoded = images.map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).ignore_errors()
    return decoded.concatenate(blank).batch(count + 1).get_single_element()


def _pixel_count(content: tf.Tensor, kind: tf.Tensor) -> tf.Tensor:
    """Return the number of pixels that the header of one image claims: int64 []."""
    header = _header(content)

    def product(heights: Sequence[int], widths: Sequence[int]) -> tf.Tensor:
        return _integer(header, heights) * _integer(header, widths)

    claims = {
        "JPEG": lambda: tf.reduce_prod(tf.io.extract_jpeg_shape(content, tf.int64)[:2]),
        "PNG": lambda: product((23, 22, 21, 20), (19, 18, 17, 16)),
        # A file that begins with its last row has a positive height, any other a negative one.
        "BMP": lambda: (
            tf.abs(tf.cast(tf.cast(_integer(header, (22, 23, 24, 25)), tf.int32), tf.int64))
            * _integer(header, (18, 19, 20, 21))
        ),
        "GIF": lambda: product((8, 9), (6, 7)),
    }
    return tf.switch_case(tf.cast(kind, tf.int32), [claims[name] for name in ACCEPTED])


def _integer(header: tf.Tensor, places: Sequence[int]) -> tf.Tensor:
    """Return the number whose bytes stand at these places of a header, the least significant first: int64 []."""
    return tf.reduce_sum(tf.gather(header, places) * [256**power for power in range(len(places))])
