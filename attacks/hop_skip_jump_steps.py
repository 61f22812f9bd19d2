"""Steps of HopSkipJump, on many images at once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from dermrobust.attacks.logits import compiled_logits
from dermrobust.attacks.problem import Indices, Problem
from dermrobust.attacks.randomness import generator
from dermrobust.attacks.threat import PIXEL_LEVELS, Images, Norm

_HALVINGS = 12
"""Halvings of a search for the boundary. The remaining interval is a fraction of a level of an 8-bit image; the
published search goes on to a width that such images cannot show."""
_MOST_SHORTENINGS = 15
"""Halvings of a step that has left the wrong class; then the image stays where it is."""
_MOST_SAMPLES = 10_000
_CANDIDATES = 1000
"""Images that are tried as starts, as long as an image has queries left."""
_OFFSETS = 2**32
"""Number of the stream of offsets, which no step has."""
_VALUES_AT_ONCE = 1 << 24
"""Values of all random changes that are held at once: 64 MB, three times."""

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


def hop_skip_jump(
    problem: Problem, queries: int, *, initial_samples: int, smallest_change: float
) -> tuple[Images, Counts]:
    """Return the nearest misclassified image of each image, at whatever distance, and the number of queries of each.

    An image that is misclassified already, or of which none is found, is returned unchanged. An image is left when its
    next step might need more than its queries, and, if the problem stops at success, when it is in the budget.

    Args:
        problem: images to attack; goals are not supported.
        queries: largest number of queries for each image.
        initial_samples: number of random changes of the first step.
        smallest_change: least size of random changes of a value, in 1/255.
    """
    # Decisions of the exact model, since no gradient is needed.
    search = _Search(problem.exactly(), queries, smallest_change)
    search.start()
    step = 1
    while len(chosen := search.unfinished(samples := min(int(initial_samples * math.sqrt(step)), _MOST_SAMPLES))):
        # Few at a time, since each image has many random changes.
        most = max(1, _VALUES_AT_ONCE // (samples * problem.images[0].size))
        for first in range(0, len(chosen), most):
            search.advance(chosen[first : first + most], samples, step)
        step += 1
    return search.nearest, search.used


class _Search:
    """State of the search for each image.

    Attributes:
        nearest: nearest misclassified image so far; the clean one until there is one.
        distance: its distance from the clean image, float64 [count]; infinity until there is one.
        used: queries so far, int64 [count].
    """

    def __init__(self, problem: Problem, queries: int, smallest_change: float) -> None:
        self._problem, self._queries = problem, queries
        self._forward = compiled_logits(problem.target.logits)
        self._size = problem.images[0].size
        width = problem.threat.bounds.width
        self._smallest = smallest_change / PIXEL_LEVELS * width
        self.nearest = problem.images.copy()
        self.distance = np.full(len(problem.images), np.inf)
        self.used = np.zeros(len(problem.images), np.int64)
        self._current = problem.images.copy()
        self._failed = np.zeros(len(problem.images), bool)

    def unfinished(self, samples: int) -> Indices:
        """Return the images that are not done and can pay for a step with so many samples."""
        most = samples + _HALVINGS + _MOST_SHORTENINGS
        open_ = ~self._failed & (self.distance > 0) & (self.used + most <= self._queries)
        if self._problem.stop_at_success:
            open_ &= self.distance > self._problem.threat.radius
        return np.flatnonzero(open_)

    def start(self) -> None:
        """Find a misclassified image for each image, and the boundary between them."""
        everyone = np.arange(len(self.used))
        wrong = self._wrong(everyone, self._problem.images)
        self.distance[everyone[wrong]] = 0.0
        left = everyone[~wrong]
        found: list[int] = []
        random = {index: generator(self._problem.seeds[index]) for index in left}
        for number in range(_CANDIDATES):
            left = left[self.used[left] < self._queries - _HALVINGS]
            if not len(left):
                break
            tried = np.stack([self._candidate(random[index], number) for index in left])
            wrong = self._wrong(left, tried)
            self._current[left[wrong]] = tried[wrong]
            found += left[wrong].tolist()
            left = left[~wrong]
        self._failed[np.setdiff1d(everyone, [*found, *everyone[self.distance[everyone] == 0]])] = True
        if found:
            self._to_boundary(np.asarray(sorted(found)))

    def advance(self, chosen: Indices, samples: int, number: int) -> None:
        """Take a step of some images: estimate a direction, go along it, and return to the boundary.

        Args:
            chosen: the images.
            samples: number of random changes of each.
            number: number of the step, from 1.
        """
        bounds = self._problem.threat.bounds
        direction = self._direction(chosen, samples, number)
        current = self._current[chosen]
        length = self._distances(chosen, current) / math.sqrt(number)
        moved = current.copy()
        open_ = np.arange(len(chosen))
        for _ in range(_MOST_SHORTENINGS):
            moved_on = current[open_] + _wide(length[open_]) * direction[open_]
            tried = np.asarray(np.clip(moved_on, bounds.lower, bounds.upper), np.float32)
            wrong = self._wrong(chosen[open_], tried)
            moved[open_[wrong]] = tried[wrong]
            open_ = open_[~wrong]
            if not len(open_):
                break
            length[open_] /= 2
        self._current[chosen] = moved
        self._to_boundary(chosen)

    def _direction(self, chosen: Indices, samples: int, number: int) -> Images:
        """Return an estimate of the direction that leads deeper into the wrong class: like images, of length 1."""
        norm, bounds = self._problem.threat.norm, self._problem.threat.bounds
        shape = self._problem.images.shape[1:]
        distance = self._distances(chosen, self._current[chosen])
        # As published for the first step: a tenth of the range. Later ones fall with the distance, but not below what
        # 8 bits can show, which is more than the published size.
        if number == 1:
            size = np.full(len(chosen), 0.1 * bounds.width)
        else:
            size = distance / (math.sqrt(self._size) if norm is Norm.L2 else self._size)
        # A random direction of length 1 in L2 changes each value by 1 / sqrt(values).
        least = self._smallest * (math.sqrt(self._size) if norm is Norm.L2 else 1.0)
        size = np.maximum(size, least)
        current, wide = self._current[chosen][:, None], size.astype(np.float32)[:, None, None, None, None]
        streams = [_stream(self._problem.seeds[index], number) for index in chosen]
        plain, signed = np.zeros((2, len(chosen), *shape), np.float32)
        total = np.zeros(len(chosen), np.float32)
        at_once = max(1, _VALUES_AT_ONCE // (len(chosen) * self._size))
        for first in range(0, samples, at_once):
            count = min(at_once, samples - first)
            changes = np.stack([_random(stream, count, shape, norm) for stream in streams])
            changed = np.clip(current + wide * changes, bounds.lower, bounds.upper)
            # What clipping has left of each change.
            changes = (changed - current) / wide
            wrong = self._wrong(np.repeat(chosen, count), changed.reshape(-1, *shape)).reshape(len(chosen), count)
            signs = np.where(wrong, 1.0, -1.0).astype(np.float32)
            plain += changes.sum(axis=1)
            signed += np.einsum("is,ishwc->ihwc", signs, changes)
            total += signs.sum(axis=1)
        mean = total / np.float32(samples)
        # The mean is a baseline that lowers the variance, as published. Without it where all signs agree.
        found = np.where(_wide(np.abs(mean) == 1.0), signed, signed - _wide(mean) * plain)
        if norm is Norm.LINF:
            return np.sign(found)
        lengths = np.linalg.norm(found.reshape(len(found), -1), axis=1)
        return found / _wide(np.maximum(lengths, np.finfo(np.float32).tiny))

    def _to_boundary(self, chosen: Indices) -> None:
        """Move current images, which are misclassified, towards the clean ones, as far as they stay misclassified."""
        far = self._current[chosen]
        reach = self._distances(chosen, far)
        # Fractions of the distance: `high` is misclassified, `low` is not.
        low, high = np.zeros(len(chosen)), np.ones(len(chosen))
        best = far
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            tried = self._between(chosen, far, middle * reach, middle)
            wrong = self._wrong(chosen, tried)
            high, low = np.where(wrong, middle, high), np.where(wrong, low, middle)
            best = np.where(_wide(wrong), tried, best)
        self._current[chosen] = best
        distance = self._distances(chosen, best)
        nearer = distance < self.distance[chosen]
        self.nearest[chosen[nearer]] = best[nearer]
        self.distance[chosen] = np.minimum(distance, self.distance[chosen])

    def _between(self, chosen: Indices, far: Images, box: Floats, share: Floats) -> Images:
        """Return images between the clean and the far ones: on the line in L2, clipped to a box in L-infinity."""
        clean = self._problem.images[chosen]
        if self._problem.threat.norm is Norm.L2:
            return np.asarray(clean + _wide(share) * (far - clean), np.float32)
        # The box of each value is smaller by a random part of a level. Otherwise rounding to 8 bits would move all
        # values at the same width of the box, and the boundary would be known to a whole level only: too far away for
        # random changes, whose effects on the classifier cancel out, to reach it.
        offsets = self._smallest * np.stack([self._offsets(index) for index in chosen])
        limits = np.maximum(_wide(box) - offsets, 0)
        return np.asarray(np.clip(far, clean - limits, clean + limits), np.float32)

    def _offsets(self, index: int) -> Images:
        """Return numbers in [0, 1) for the values of an image, the same in every step."""
        stream = _stream(self._problem.seeds[index], _OFFSETS)
        return np.abs(_random(stream, 1, self._problem.images.shape[1:], Norm.LINF)[0])

    def _candidate(self, random: np.random.Generator, number: int) -> Images:
        """Return an image to start from: noise, a plain color, or coarse noise, by its number.

        The published start is uniform noise. Classifiers put most noise into one class, where images of that very class
        need another start.
        """
        shape, bounds = self._problem.images.shape[1:], self._problem.threat.bounds
        cells = (shape[0], shape[1]) if number % 4 == 0 else (1, 1) if number % 4 == 1 else (2 + number // 4,) * 2
        return (bounds.lower + bounds.width * _coarse(random, cells, shape)).astype(np.float32)

    def _wrong(self, chosen: Indices, images: Images) -> npt.NDArray[np.bool_]:
        """Return which images are misclassified, bool [len(images)], and count a query for each."""
        np.add.at(self.used, chosen, 1)
        predicted = []
        size = self._problem.batch_size
        for start in range(0, len(images), size):
            # Not filled up to a whole batch: every image of it would be a query.
            outputs = self._forward(self._problem.target.weights, tf.constant(images[start : start + size]))
            predicted.append(np.asarray(outputs).argmax(axis=1))
        return np.asarray(np.concatenate(predicted) != self._problem.labels[chosen])

    def _distances(self, chosen: Indices, images: Images) -> Floats:
        return self._problem.threat.distance(images, self._problem.images[chosen])


def _stream(seed: np.uint64, number: int) -> np.random.Generator:
    """Return the random numbers of a step of an image."""
    # The step's number in the upper half of the key: each step of each image has a stream of its own.
    return np.random.Generator(np.random.Philox(key=[int(seed), number]))


def _random(random: np.random.Generator, samples: int, shape: tuple[int, ...], norm: Norm) -> Images:
    """Return random changes float32 [samples, *shape]: of length 1 in L2, uniform in [-1, 1] in L-infinity."""
    if norm is Norm.LINF:
        return 2 * random.random((samples, *shape), dtype=np.float32) - 1
    drawn = random.standard_normal((samples, *shape), dtype=np.float32)
    return drawn / np.linalg.norm(drawn.reshape(samples, -1), axis=1).reshape(-1, 1, 1, 1)


def _coarse(random: np.random.Generator, cells: tuple[int, int], shape: tuple[int, ...]) -> Images:
    """Return random colors in a grid of cells: float32 [height, width, 3] in [0, 1)."""
    colors = random.random((*cells, shape[2]), dtype=np.float32)
    rows, columns = (np.arange(side) * count // side for side, count in zip(shape[:2], cells, strict=True))
    return colors[rows][:, columns]


def _wide(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return [count] as [count, 1, 1, 1]; float64 as float32, so that images stay float32."""
    narrow = values.astype(np.float32) if values.dtype == np.float64 else values
    return narrow[:, None, None, None]
