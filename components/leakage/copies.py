"""Copies of an image under another name, found by the image alone.

A perceptual hash names the few pairs worth a look; the correlation of small thumbnails decides. Turned and mirrored
copies are found too. Images need the same preprocessing.

On HAM10000 (200 x 150 pixels, cut and resized to 28, 32, 64 or 150) this finds one pair among the 50 million of images
of different lesions: ISIC_0025226 and ISIC_0030074, with a correlation of 0.998 where the next pair has 0.95. Of 500
images at 64 pixels every copy was found that was turned, mirrored, halved, doubled, a fifth darker, a tenth brighter,
gray or saved as JPEG of quality 50 (of quality 30: 99.8 %, 15: 97.6 %), and 84 % of those cut by 2 % on each side. A
lesion photographed anew, or cut further, is no copy.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from dermrobust.components.leakage.fingerprints import (
    FREQUENCIES,
    THUMBNAIL_SIDE,
    Bytes,
    Fingerprints,
    Floats,
    Thumbnails,
)

Integers = npt.NDArray[np.int64]

MAX_DISTANCE = 48
"""Bits, of the 256 of a hash, in which a copy's may differ."""
MIN_CORRELATION = 0.96
"""Correlation above which two thumbnails show the same image."""

_DETAIL_RADIUS = 2
_BLOCK = (64, 8192)
"""Distances computed at a time: they fit into a processor's cache."""


def copies(one: Fingerprints, other: Fingerprints) -> dict[tuple[int, int], tuple[int, float]]:
    """Return distance and correlation of each pair of indices that is a copy, in the best of 8 orientations."""
    hashes, small = one.hashes, one.thumbnails
    others, other_small = other.hashes, other.thumbnails
    best: dict[tuple[int, int], tuple[int, float]] = {}
    # Only one side is turned: the 8 orientations of the other would repeat the same comparisons.
    for turned, turned_small in zip(_orientations_of_hashes(others), _orientations(other_small), strict=True):
        for first, second, distance in near_duplicates(hashes, turned):
            correlation = correlations(small[first], turned_small[second])
            for index in np.flatnonzero(correlation >= MIN_CORRELATION):
                pair, found = (int(first[index]), int(second[index])), float(correlation[index])
                if pair not in best or best[pair][1] < found:
                    best[pair] = (int(distance[index]), found)
    return best


def near_duplicates(
    hashes: Bytes, others: Bytes, max_distance: int = MAX_DISTANCE
) -> Iterator[tuple[Integers, Integers, Integers]]:
    """Yield the pairs of hashes that are near, block by block: index [pair], index of the other [pair], bits [pair].

    Memory holds the distances of one block, half a million, whatever the number of hashes.

    Args:
        hashes: uint8 [count, bytes], bytes a multiple of 8.
        others: uint8 [other count, bytes].
        max_distance: number of bits in which the hashes of a pair may differ.
    """
    rows, columns = _BLOCK
    # A word of all hashes lies together, so that a block is read in order.
    left, right = (np.ascontiguousarray(array).view(np.uint64).T.copy() for array in (hashes, others))
    for row, column in itertools.product(range(0, len(hashes), rows), range(0, len(others), columns)):
        distance = _hamming(left[:, row : row + rows], right[:, column : column + columns])
        first, second = np.nonzero(distance <= max_distance)
        if len(first):
            yield first + row, second + column, distance[first, second].astype(np.int64)


def correlations(thumbnails: Thumbnails, others: Thumbnails) -> Floats:
    """Return the similarity of each pair of thumbnails [pair, 16, 16]: float32 [pair], 1 for the same image.

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


def _orientations(images: Thumbnails) -> Iterable[Thumbnails]:
    """Yield images [count, side, side] in the 8 orientations of a square.

    Thumbnails are square whatever the images are, so that a turned rectangle has the turned thumbnail.
    """
    for square in (images, images.transpose(0, 2, 1)):
        for step_y, step_x in itertools.product((1, -1), repeat=2):
            yield square[:, ::step_y, ::step_x]


def _orientations_of_hashes(hashes: Bytes) -> Iterable[Bytes]:
    """Yield the hashes of images in the order of `_orientations`.

    A mirror changes the sign of the odd frequencies along its axis and a transposition swaps the axes, so that no image
    need be transformed again.
    """
    bits = np.unpackbits(hashes, axis=1).reshape(len(hashes), FREQUENCIES, FREQUENCIES)
    odd = np.arange(FREQUENCIES) % 2
    for square in (bits, bits.transpose(0, 2, 1)):
        for mirror_y, mirror_x in itertools.product((0, 1), repeat=2):
            changed = (mirror_y * odd[:, np.newaxis] + mirror_x * odd) % 2
            yield np.packbits((square ^ changed.astype(np.uint8)).reshape(len(bits), FREQUENCIES**2), axis=1)


@lru_cache(maxsize=1)
def _blur_weights() -> Floats:
    """Matrix [position, position] of a moving average over 5 pixels that repeats the edges."""
    offsets = np.arange(-_DETAIL_RADIUS, _DETAIL_RADIUS + 1)
    source = np.clip(np.arange(THUMBNAIL_SIDE)[:, np.newaxis] + offsets, 0, THUMBNAIL_SIDE - 1)
    weights = np.zeros((THUMBNAIL_SIDE, THUMBNAIL_SIDE), np.float32)
    np.add.at(weights, (np.arange(THUMBNAIL_SIDE)[:, np.newaxis], source), 1.0 / len(offsets))
    return weights


def _blurred(images: Floats) -> Floats:
    return np.matmul(np.matmul(_blur_weights(), images), _blur_weights().T)


def _correlation(images: Floats, others: Floats) -> Floats:
    """Pearson's correlation of each pair of images [pair, side, side]; 0 where they vary by less than 0.1 of 255."""
    first, second = (array.reshape(len(array), -1) for array in (images, others))
    first = first - first.mean(axis=1, keepdims=True)
    second = second - second.mean(axis=1, keepdims=True)
    # Even images have no correlation; dividing by their rounding errors would find one.
    spread = np.sqrt((first * first).mean(axis=1) * (second * second).mean(axis=1))
    return np.where(spread > 0.01, (first * second).mean(axis=1) / np.maximum(spread, 0.01), 0.0)
