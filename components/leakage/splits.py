"""What two splits share and should not: lesions, and copies of an image under another name.

A copy is found by the image alone: a perceptual hash names the few pairs worth a look, the correlation of small
thumbnails decides. Turned and mirrored copies are found too. Images need the same preprocessing; a split keeps about
0.7 KB an image in memory.

On HAM10000 (200 x 150 pixels, cut and resized to 28, 32, 64 or 150) this finds one pair among the 50 million of images
of different lesions: ISIC_0025226 and ISIC_0030074, with a correlation of 0.998 where the next pair has 0.95. Of 500
images at 64 pixels every copy was found that was turned, mirrored, halved, doubled, a fifth darker, a tenth brighter,
gray or saved as JPEG of quality 50 (of quality 30: 99.8 %, 15: 97.6 %), and 84 % of those cut by 2 % on each side. A
lesion photographed anew, or cut further, is no copy.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from dermrobust.components.examples import Batch, Split, read_shard
from dermrobust.models.task import Task

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Thumbnails = npt.NDArray[np.float16]
Integers = npt.NDArray[np.int64]

MAX_DISTANCE = 48
"""Of the 256 bits of a hash, those in which a copy's may differ."""
MIN_CORRELATION = 0.96
"""Above it two thumbnails show the same image."""

_FREQUENCIES = 16  # a side: 64 bits (8 a side) leave look-alike lesions as near as copies saved as poor JPEG
_HASHED_SIDE = 2 * _FREQUENCIES
_THUMBNAIL_SIDE = 16
_DETAIL_RADIUS = 2
_LUMA = np.asarray([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
_BLOCK = (64, 8192)  # distances computed at a time fit into a processor's cache


class NearDuplicate(BaseModel):
    """Two images of different splits that show the same photograph.

    Attributes:
        first: Id of the image in `first_split`.
        second: Id of the image in `second_split`.
        distance: Number of bits, of 256, in which the perceptual hashes differ.
        correlation: Of the thumbnails, at most 1; see `correlations`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    first: str
    first_split: Split
    second: str
    second_split: Split
    distance: int
    correlation: float


class Leakage(BaseModel):
    """What splits share.

    Attributes:
        shared_lesions: Ids of lesions with images in several splits, in order.
        near_duplicates: Copies across splits, the most alike first.
        images: The number of images of each split that were compared.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    shared_lesions: tuple[str, ...]
    near_duplicates: tuple[NearDuplicate, ...]
    images: dict[Split, int]


@dataclass
class Fingerprints:
    """What is kept of a split's images; feed it shard by shard with `add`.

    Attributes:
        image_ids: Of each image.
        lesion_ids: Of the split, without repetition; images without a lesion id add none.
    """

    image_ids: list[str] = field(default_factory=list)
    lesion_ids: set[str] = field(default_factory=set)
    _hashes: list[Bytes] = field(default_factory=list, init=False, repr=False)
    _thumbnails: list[Thumbnails] = field(default_factory=list, init=False, repr=False)

    def add(self, batch: Batch) -> None:
        """Take in the images of a shard."""
        self.image_ids += batch.columns["image/id"]
        self.lesion_ids.update(name for name in batch.columns["lesion/id"] if name)
        self._hashes.append(perceptual_hashes(batch.pixels))
        self._thumbnails.append(thumbnails(batch.pixels))

    def hashes(self) -> Bytes:
        """Return the hashes: uint8 [image, 32]."""
        return np.concatenate([np.empty((0, _FREQUENCIES**2 // 8), np.uint8), *self._hashes])

    def thumbnails(self) -> Thumbnails:
        """Return the thumbnails: float16 [image, 16, 16]."""
        return np.concatenate([np.empty((0, _THUMBNAIL_SIDE, _THUMBNAIL_SIDE), np.float16), *self._thumbnails])


def find_leakage(shards_by_split: Mapping[Split, Sequence[str]], task: Task) -> Leakage:
    """Compare the images of each split with those of the others.

    Args:
        shards_by_split: for each split its shards of examples, as `examples.shard_uris` names them.
        task: Task of the records.
    """
    fingerprints = {split: Fingerprints() for split in shards_by_split}
    for split, uris in shards_by_split.items():
        for uri in uris:
            for batch in read_shard(uri, task):
                fingerprints[split].add(batch)
    return compare_splits(fingerprints)


def compare_splits(fingerprints: Mapping[Split, Fingerprints]) -> Leakage:
    """Return what splits share, from what is kept of their images."""
    shared: set[str] = set()
    found: list[NearDuplicate] = []
    for (split, one), (other_split, other) in itertools.combinations(fingerprints.items(), 2):
        shared |= one.lesion_ids & other.lesion_ids
        for (first, second), (distance, correlation) in _copies(one, other).items():
            found.append(
                NearDuplicate(
                    first=one.image_ids[first],
                    first_split=split,
                    second=other.image_ids[second],
                    second_split=other_split,
                    distance=distance,
                    correlation=round(correlation, 4),
                )
            )
    found.sort(key=lambda pair: (-pair.correlation, pair.distance, pair.first, pair.second))
    images = {split: len(kept.image_ids) for split, kept in fingerprints.items()}
    return Leakage(shared_lesions=tuple(sorted(shared)), near_duplicates=tuple(found), images=images)


def perceptual_hashes(pixels: Bytes) -> Bytes:
    """Return a hash that stays nearly the same when an image is saved, resized or exposed anew: uint8 [count, 32].

    A bit is the sign of one of the 16 x 16 lowest frequencies of the discrete cosine transform of the brightness, the
    mean apart (after the pHash of Zauner, 2010, who takes 8 x 8 and the median for 0). 64 bits are too few here: all
    lesions are dark blobs in the middle, and images of different lesions come as near as 5 bits, where a copy saved
    as JPEG of quality 30 may be 7 away. With 256 bits 132 pairs of HAM10000 are within `MAX_DISTANCE`, and 99 of 100
    such copies within 27.

    Args:
        pixels: uint8 [count, size, size, 3].
    """
    brightness = _brightness(pixels, _HASHED_SIDE)
    brightness -= brightness.mean(axis=(1, 2), keepdims=True)
    cosines = _cosines()
    # One matrix product an image, not one over all: a sign must not depend on the batch.
    transformed = np.matmul(np.matmul(cosines, brightness), cosines.T)
    transformed[:, 0, 0] = 0.0
    return np.packbits((transformed > 0.0).reshape(len(pixels), _FREQUENCIES**2), axis=1)


def near_duplicates(
    hashes: Bytes, others: Bytes, max_distance: int = MAX_DISTANCE
) -> Iterator[tuple[Integers, Integers, Integers]]:
    """Yield the pairs of hashes that are near, block by block: index [pair], index of the other [pair], bits [pair].

    Memory holds the distances of one block, half a million, whatever the number of hashes.

    Args:
        hashes: uint8 [count, bytes], bytes a multiple of 8.
        others: uint8 [other count, bytes].
        max_distance: the number of bits in which the hashes of a pair may differ.
    """
    rows, columns = _BLOCK
    # A word of all hashes lies together, so that a block is read in order.
    left, right = (np.ascontiguousarray(array).view(np.uint64).T.copy() for array in (hashes, others))
    for row, column in itertools.product(range(0, len(hashes), rows), range(0, len(others), columns)):
        distance = _hamming(left[:, row : row + rows], right[:, column : column + columns])
        first, second = np.nonzero(distance <= max_distance)
        if len(first):
            yield first + row, second + column, distance[first, second].astype(np.int64)


def thumbnails(pixels: Bytes) -> Thumbnails:
    """Return the brightness of images uint8 [count, size, size, 3] on 16 x 16 pixels, in [0, 255]: float16."""
    return _brightness(pixels, _THUMBNAIL_SIDE).astype(np.float16)


def correlations(thumbnails: Thumbnails, others: Thumbnails) -> Floats:
    """Return how far each thumbnail [pair, 16, 16] shows the same as its other: float32 [pair], 1 for the same image.

    The smaller of two correlations: of the thumbnails, and of what is left of them when their blurred copies are taken
    away. Two dark blobs on pale skin agree in the first, their texture does not in the second. It is 0 where there is
    nothing to see.
    """
    plain, other_plain = thumbnails.astype(np.float32), others.astype(np.float32)
    detail, other_detail = plain - _blurred(plain), other_plain - _blurred(other_plain)
    return np.minimum(_correlation(plain, other_plain), _correlation(detail, other_detail))


def _hamming(words: npt.NDArray[np.uint64], others: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint16]:
    """Count the bits in which hashes [word, count] and [word, other count] differ: [count, other count]."""
    distance = np.zeros((words.shape[1], others.shape[1]), np.uint16)
    for one, other in zip(words, others, strict=True):
        distance += np.bitwise_count(one[:, np.newaxis] ^ other)
    return distance


def _copies(one: Fingerprints, other: Fingerprints) -> dict[tuple[int, int], tuple[int, float]]:
    """Distance and correlation of each pair of indices that is confirmed, in the orientation that fits best."""
    hashes, small = one.hashes(), one.thumbnails()
    others, other_small = other.hashes(), other.thumbnails()
    best: dict[tuple[int, int], tuple[int, float]] = {}
    for turned, turned_small in zip(_orientations_of_hashes(others), _orientations(other_small), strict=True):
        for first, second, distance in near_duplicates(hashes, turned):
            correlation = correlations(small[first], turned_small[second])
            for index in np.flatnonzero(correlation >= MIN_CORRELATION):
                pair, found = (int(first[index]), int(second[index])), float(correlation[index])
                if pair not in best or best[pair][1] < found:
                    best[pair] = (int(distance[index]), found)
    return best


def _orientations(images: Thumbnails) -> Iterable[Thumbnails]:
    """Images [count, side, side] in the 8 ways in which a square lies: mirrored, turned, both."""
    for square in (images, images.transpose(0, 2, 1)):
        for step_y, step_x in itertools.product((1, -1), repeat=2):
            yield square[:, ::step_y, ::step_x]


def _orientations_of_hashes(hashes: Bytes) -> Iterable[Bytes]:
    """The hashes of the same images, in the order of `_orientations`.

    A mirror changes the sign of the odd frequencies along its axis and a transposition swaps the axes, so that no image
    need be transformed again.
    """
    bits = np.unpackbits(hashes, axis=1).reshape(len(hashes), _FREQUENCIES, _FREQUENCIES)
    odd = np.arange(_FREQUENCIES) % 2
    for square in (bits, bits.transpose(0, 2, 1)):
        for mirror_y, mirror_x in itertools.product((0, 1), repeat=2):
            changed = (mirror_y * odd[:, np.newaxis] + mirror_x * odd) % 2
            yield np.packbits((square ^ changed.astype(np.uint8)).reshape(len(bits), _FREQUENCIES**2), axis=1)


def _brightness(pixels: Bytes, side: int) -> Floats:
    """Brightness averaged over areas, in [0, 255]: float32 [count, side, side]."""
    area = _area_weights(pixels.shape[1], side)
    return np.matmul(np.matmul(area, pixels @ _LUMA), area.T)


@lru_cache(maxsize=8)
def _area_weights(size: int, side: int) -> Floats:
    """Matrix [side, size] that averages `size` pixels into `side` equal parts."""
    edges = np.arange(side + 1) * (size / side)
    pixel = np.arange(size)
    overlap = np.minimum(edges[1:, np.newaxis], pixel + 1) - np.maximum(edges[:-1, np.newaxis], pixel)
    return (np.maximum(overlap, 0.0) * (side / size)).astype(np.float32)


@lru_cache(maxsize=1)
def _cosines() -> Floats:
    """The lowest frequencies of the discrete cosine transform (type II): [frequency, position]."""
    angles = np.outer(np.arange(_FREQUENCIES), 2 * np.arange(_HASHED_SIDE) + 1) * (np.pi / (2 * _HASHED_SIDE))
    return np.cos(angles).astype(np.float32)


@lru_cache(maxsize=1)
def _blur_weights() -> Floats:
    """Matrix [position, position] of a moving average over 5 pixels that repeats the edges."""
    offsets = np.arange(-_DETAIL_RADIUS, _DETAIL_RADIUS + 1)
    source = np.clip(np.arange(_THUMBNAIL_SIDE)[:, np.newaxis] + offsets, 0, _THUMBNAIL_SIDE - 1)
    weights = np.zeros((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE), np.float32)
    np.add.at(weights, (np.arange(_THUMBNAIL_SIDE)[:, np.newaxis], source), 1.0 / len(offsets))
    return weights


def _blurred(images: Floats) -> Floats:
    return np.matmul(np.matmul(_blur_weights(), images), _blur_weights().T)


def _correlation(images: Floats, others: Floats) -> Floats:
    """Pearson's correlation of each pair of images [pair, side, side]; 0 where they vary by less than 0.1 of 255."""
    first, second = (array.reshape(len(array), -1) for array in (images, others))
    first = first - first.mean(axis=1, keepdims=True)
    second = second - second.mean(axis=1, keepdims=True)
    spread = np.sqrt((first * first).mean(axis=1) * (second * second).mean(axis=1))
    return np.where(spread > 0.01, (first * second).mean(axis=1) / np.maximum(spread, 0.01), 0.0)
