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
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
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
"""Distances computed at a time: half a million, in memory that is used again for each block."""
_WORD = FREQUENCIES**2 // 4
"""Bits of a hash with the same parity of both frequencies."""
_MIRRORS = np.asarray([[0, 0, 0, 0], [0, 1, 0, 1], [0, 0, 1, 1], [0, 1, 1, 0]], bool)
"""Whether mirroring (not at all, along x, along y, along both) changes the signs of each word of `_words`."""


@dataclass(frozen=True)
class NearHashes:
    """Pairs of hashes that are near, of images in one orientation to each other.

    Attributes:
        orientation: position in `_orientations` of how the second image of each pair is turned.
        first: index of the first hash, int64 [pair].
        second: index of the second hash, int64 [pair].
        distance: bits in which the hashes differ, int64 [pair].
    """

    orientation: int
    first: Integers
    second: Integers
    distance: Integers


def copies(one: Fingerprints, other: Fingerprints) -> dict[tuple[int, int], tuple[int, float]]:
    """Return distance and correlation of each pair of indices that is a copy, in the best of 8 orientations."""
    # Only one side is turned: the 8 orientations of the other would repeat the same comparisons.
    turned = list(_orientations(other.thumbnails))
    best: dict[tuple[int, int], tuple[int, float]] = {}
    for near in near_hashes(one.hashes, other.hashes):
        correlation = correlations(one.thumbnails[near.first], turned[near.orientation][near.second])
        for index in np.flatnonzero(correlation >= MIN_CORRELATION):
            pair, found = (int(near.first[index]), int(near.second[index])), float(correlation[index])
            if pair not in best or best[pair][1] < found:
                best[pair] = (int(near.distance[index]), found)
    return best


def near_hashes(hashes: Bytes, others: Bytes, max_distance: int = MAX_DISTANCE) -> Iterator[NearHashes]:
    """Yield the pairs of hashes that are near, block by block and in each block in the order of the orientations.

    Args:
        hashes: uint8 [count, 32], as `perceptual_hashes` returns them.
        others: uint8 [other count, 32]; the images of these are turned.
        max_distance: number of bits in which the hashes of a pair may differ, in some orientation of the second.
    """
    rows, columns = _BLOCK
    work = _Work(rows, columns)
    left, upright, transposed = _words(hashes), _words(others), _words(others, transposed=True)
    for row, column in itertools.product(range(0, len(hashes), rows), range(0, len(others), columns)):
        for turns, right in enumerate((upright, transposed)):
            block = left[:, row : row + rows], right[:, column : column + columns]
            bound = work.lower_bound(*block)
            # Two-dimensional `nonzero` takes as long as all the rest.
            found = np.flatnonzero(bound.ravel() <= max_distance)
            if not len(found):
                continue
            first, second = found // bound.shape[1] + row, found % bound.shape[1] + column
            # Signs that a mirror changes differ where they agreed before.
            differ = np.bitwise_count(left[:, first] ^ right[:, second]).astype(np.int64)
            for place, mirrored in enumerate(_MIRRORS):
                distance = np.where(mirrored[:, np.newaxis], _WORD - differ, differ).sum(axis=0)
                near = np.flatnonzero(distance <= max_distance)
                if len(near):
                    yield NearHashes(len(_MIRRORS) * turns + place, first[near], second[near], distance[near])


class _Work:
    """Memory for the distances of one block: allocating it anew takes as long as computing them."""

    def __init__(self, rows: int, columns: int) -> None:
        self._differing = np.empty(rows * columns, np.uint64)
        self._total, self._count, self._rest = (np.empty(rows * columns, np.uint8) for _ in range(3))

    def lower_bound(self, words: npt.NDArray[np.uint64], others: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
        """Return what distances are not below in any mirrored orientation: [count, other count], for one block.

        Each of the three words with odd frequencies is near as it is or with all signs changed. Of HAM10000's pairs one
        in 20,000 is left, so that its four distances need not be computed for the others.

        Args:
            words: [4, count].
            others: [4, other count].
        """
        shape = words.shape[1], others.shape[1]
        size = math.prod(shape)
        differing = self._differing[:size].reshape(shape)
        total, count, rest = (each[:size].reshape(shape) for each in (self._total, self._count, self._rest))
        total.fill(0)
        for one, other in zip(words[1:], others[1:], strict=True):
            np.bitwise_xor(one[:, np.newaxis], other, out=differing)
            np.bitwise_count(differing, out=count)
            np.subtract(_WORD, count, out=rest)
            np.minimum(count, rest, out=count)
            np.add(total, count, out=total)
        return total


def _words(hashes: Bytes, *, transposed: bool = False) -> npt.NDArray[np.uint64]:
    """Return the bits of hashes by the parity of their frequencies: uint64 [4, count].

    A mirror changes the sign of the odd frequencies along its axis and a transposition swaps the axes, so that no image
    need be transformed again.

    Returns:
        Words of the frequencies that are even along both axes, odd along x, odd along y and odd along both.
    """
    bits = np.unpackbits(hashes, axis=1).reshape(-1, FREQUENCIES, FREQUENCIES)
    if transposed:
        bits = bits.transpose(0, 2, 1)
    parts = [bits[:, y::2, x::2].reshape(-1, _WORD) for y, x in itertools.product((0, 1), repeat=2)]
    return np.stack([np.packbits(part, axis=1).view(np.uint64)[:, 0] for part in parts])


def correlations(thumbnails: Thumbnails, others: Thumbnails) -> Floats:
    """Return the similarity of each pair of thumbnails [pair, 16, 16]: float32 [pair], 1 for the same image.

    The smaller of two correlations: of the thumbnails, and of what is left of them when their blurred copies are taken
    away. Two dark blobs on pale skin agree in the first, their texture does not in the second. It is 0 where there is
    nothing to see.
    """
    plain, other_plain = thumbnails.astype(np.float32), others.astype(np.float32)
    detail, other_detail = plain - _blurred(plain), other_plain - _blurred(other_plain)
    return np.minimum(_correlation(plain, other_plain), _correlation(detail, other_detail))


def _orientations(images: Thumbnails) -> Iterable[Thumbnails]:
    """Yield images [count, side, side] in the 8 orientations of a square.

    Thumbnails are square whatever the images are, so that a turned rectangle has the turned thumbnail.
    """
    for square in (images, images.transpose(0, 2, 1)):
        for step_y, step_x in itertools.product((1, -1), repeat=2):
            yield square[:, ::step_y, ::step_x]


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
