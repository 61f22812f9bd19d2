"""Fingerprints of images: perceptual hashes and thumbnails, about 0.7 KB an image."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import fft

from dermrobust.components import storage
from dermrobust.components.examples import Batch
from dermrobust.models.task import IMAGE_ID

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Thumbnails = npt.NDArray[np.float16]

FREQUENCIES = 16
"""Frequencies a side. 64 bits (8 a side) leave look-alike lesions as near as copies saved as poor JPEG."""
THUMBNAIL_SIDE = 16
_HASHED_SIDE = 2 * FREQUENCIES
_LUMA = np.asarray([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


@dataclass(frozen=True)
class Fingerprints:
    """Fingerprints of some images.

    Attributes:
        image_ids: ids of the images.
        groups: groups that the images belong to (lesions, patients), without repetition; images without one add none.
        hashes: perceptual hashes, uint8 [image, 32].
        thumbnails: float16 [image, 16, 16].
    """

    image_ids: tuple[str, ...]
    groups: frozenset[str]
    hashes: Bytes
    thumbnails: Thumbnails

    @classmethod
    def of(cls, batch: Batch, group_key: str | None) -> Fingerprints:
        """Return the fingerprints of a batch of records."""
        groups = [] if group_key is None else [name for name in batch.columns[group_key] if name]
        ids = tuple(batch.columns[IMAGE_ID])
        return cls(ids, frozenset(groups), perceptual_hashes(batch.pixels), thumbnails(batch.pixels))

    @classmethod
    def joined(cls, parts: Sequence[Fingerprints]) -> Fingerprints:
        """Return the fingerprints of all parts, in their order; there may be no part."""
        return cls(
            tuple(name for part in parts for name in part.image_ids),
            frozenset[str]().union(*(part.groups for part in parts)),
            np.concatenate([np.empty((0, FREQUENCIES**2 // 8), np.uint8), *(part.hashes for part in parts)]),
            np.concatenate(
                [np.empty((0, THUMBNAIL_SIDE, THUMBNAIL_SIDE), np.float16), *(part.thumbnails for part in parts)]
            ),
        )

    def write(self, uri: str) -> None:
        """Write the fingerprints as an `.npz` file, which holds no pickled objects."""
        content = io.BytesIO()
        np.savez(
            content,
            image_ids=np.asarray(self.image_ids, np.str_),
            groups=np.asarray(sorted(self.groups), np.str_),
            hashes=self.hashes,
            thumbnails=self.thumbnails,
        )
        storage.write_bytes(uri, content.getvalue())

    @classmethod
    def read(cls, uri: str) -> Fingerprints:
        """Read what `write` has written."""
        with np.load(io.BytesIO(storage.read_bytes(uri)), allow_pickle=False) as file:
            ids, groups = file["image_ids"].tolist(), file["groups"].tolist()
            return cls(tuple(ids), frozenset(groups), file["hashes"], file["thumbnails"])


def perceptual_hashes(pixels: Bytes) -> Bytes:
    """Return a hash that stays nearly the same when an image is saved, resized or exposed anew: uint8 [count, 32].

    A bit is the sign of one of the 16 x 16 lowest frequencies of the discrete cosine transform of the brightness, the
    mean apart (after the pHash of Zauner, 2010, who takes 8 x 8 and the median for 0). 64 bits are too few here: all
    lesions are dark blobs in the middle, and images of different lesions come as near as 5 bits, where a copy saved
    as JPEG of quality 30 may be 7 away. With 256 bits 132 pairs of HAM10000 are within `MAX_DISTANCE`, and 99 of 100
    such copies within 27.

    Args:
        pixels: uint8 [count, height, width, 3].
    """
    brightness = _brightness(pixels, _HASHED_SIDE)
    brightness -= brightness.mean(axis=(1, 2), keepdims=True)
    # Each image is transformed by itself, so that a sign does not depend on the batch.
    transformed = fft.dctn(brightness, axes=(1, 2))[:, :FREQUENCIES, :FREQUENCIES]
    transformed[:, 0, 0] = 0.0
    return np.packbits((transformed > 0.0).reshape(len(pixels), FREQUENCIES**2), axis=1)


def thumbnails(pixels: Bytes) -> Thumbnails:
    """Return the brightness of images uint8 [count, height, width, 3] on 16 x 16 pixels, in [0, 255]: float16."""
    return _brightness(pixels, THUMBNAIL_SIDE).astype(np.float16)


def _brightness(pixels: Bytes, side: int) -> Floats:
    """Brightness averaged over areas, in [0, 255]: float32 [count, side, side]."""
    rows, columns = (_area_weights(size, side) for size in pixels.shape[1:3])
    return np.matmul(np.matmul(rows, pixels @ _LUMA), columns.T)


@lru_cache(maxsize=8)
def _area_weights(size: int, side: int) -> Floats:
    """Matrix [side, size] that averages `size` pixels into `side` equal parts."""
    edges = np.arange(side + 1) * (size / side)
    pixel = np.arange(size)
    overlap = np.minimum(edges[1:, np.newaxis], pixel + 1) - np.maximum(edges[:-1, np.newaxis], pixel)
    return (np.maximum(overlap, 0.0) * (side / size)).astype(np.float32)
