"""Loop of attacks that move images step by step.

It keeps batches full: an image that is done leaves its place in the batch to the next one that waits, so images of one
batch may be at different iterations. When none waits, the batch shrinks through a few fixed sizes. Nothing is compiled
for that: one compiled step serves full batches, another all smaller ones, for any number of steps, budget and model of
an architecture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from dermrobust.attacks.problem import Indices, Problem
from dermrobust.attacks.threat import Images

State = tuple[Any, ...]
"""Tensors [batch, …], all that an attack keeps of each image; the first one is the image that it would return."""

StepFn = Callable[..., tuple[State, tf.Tensor]]
"""(weights, clean, classes, iteration int32 [batch], stop bool [], state) -> (next state, done bool [batch]).

`done` refers to the images that the step evaluated. Where it holds and `stop` is set, the state returns these images.
"""

_SMALLEST = 2
"""Smallest batch size."""
_HALVED_ONLY = 8
"""Batch sizes up to this one have no eighths between them, since kernels are prepared for each size."""
_REFILL = 8
"""A batch is refilled when one in so many places is free. Moving the state costs a fraction of a step, so refilling
after every image would cost more than the free places do."""


@dataclass(frozen=True)
class Method:
    """A stepwise attack on one problem.

    Attributes:
        start: returns the state of images that enter the batch, as arrays.
        step: the step.
        iterations: number of steps of each image.
    """

    start: Callable[[Problem], Sequence[npt.NDArray[Any]]]
    step: StepFn
    iterations: int


def run(problem: Problem, method: Method) -> Images:
    """Return the images of a problem after all their steps: float32 [count, height, width, 3]."""
    batch = _Batch(problem, method)
    while batch.ids.size:
        batch.advance()
    return batch.results


class _Batch:
    """The images in progress.

    Attributes:
        ids: int64 [places], index of the problem's image in each place; -1 where the place is free.
        results: final images of those that are done.
    """

    def __init__(self, problem: Problem, method: Method) -> None:
        self._problem, self._method = problem, method
        self._stop = tf.constant(problem.stop_at_success)
        self._entered = 0
        self.results = np.empty_like(problem.images)
        self.ids = np.empty(0, np.int64)
        self._iteration = np.empty(0, np.int32)
        self._tensors: list[Any] = []
        self._refill()

    def advance(self) -> None:
        """Take a step and remove the images that are done."""
        clean, classes, *state = self._tensors
        # Free places still go through the step. Their iteration stays within schedules, which steps index by it.
        iteration = tf.constant(np.minimum(self._iteration, self._method.iterations - 1))
        moved, done = self._method.step(
            self._problem.target.weights, clean, classes, iteration, self._stop, tuple(state)
        )
        # Tensors stay in TensorFlow's memory: only results are copied to NumPy.
        self._tensors = [clean, classes, *moved]
        self._iteration += 1
        held = self.ids >= 0
        over = held & (self._iteration >= self._method.iterations)
        # `done` is read only if it matters: reading waits for the step to end.
        if self._problem.stop_at_success:
            over |= held & done.numpy()
        places = np.flatnonzero(over)
        if len(places):
            # Without a gather where the whole batch ends at once, as it does when nothing stops early.
            whole = len(places) == len(self.ids)
            self.results[self.ids[places]] = moved[0].numpy() if whole else tf.gather(moved[0], places).numpy()
            self.ids[places] = -1
        free = int((self.ids < 0).sum())
        if free * _REFILL >= len(self.ids):
            self._refill()

    def _refill(self) -> None:
        """Fill free places with images that wait, or shrink the batch if there are none."""
        held = np.flatnonzero(self.ids >= 0)
        fresh = np.arange(self._entered, min(len(self.results), self._entered + self._problem.batch_size - len(held)))
        self._entered += len(fresh)
        # Smaller sizes only occur when nothing waits, since free places are filled first.
        size = self._fitting(len(held) + len(fresh))
        places = np.concatenate([held, len(self.ids) + np.arange(len(fresh))])
        if not len(places):
            self.ids = np.empty(0, np.int64)
        elif len(fresh) or size < len(self.ids):
            # The batch is padded to its size with copies of an image whose results are ignored.
            padding = size - len(places)
            self._tensors = self._gathered(np.concatenate([places, np.repeat(places[:1], padding)]), fresh)
            fresh_iterations = np.zeros(len(fresh), np.int32)
            iterations = np.concatenate([self._iteration[held], fresh_iterations])
            # Copies are as far as their image, so that they end no later.
            self._iteration = np.concatenate([iterations, np.repeat(iterations[:1], padding)])
            self.ids = np.concatenate([self.ids[held], fresh, np.full(padding, -1)])

    def _gathered(self, places: Indices, fresh: Indices) -> list[Any]:
        """Return the tensors of a new batch.

        Args:
            places: for each new place, a place of the old batch, or beyond its end one of the fresh images.
            fresh: indices of the images that enter.
        """
        if not len(fresh):
            return [tf.gather(tensor, places) for tensor in self._tensors]
        entering = self._problem.take(fresh)
        arrays: list[Any] = [entering.images, entering.classes, *self._method.start(entering)]
        if not self._tensors:
            return [tf.constant(array[places]) for array in arrays]
        return [
            tf.gather(tf.concat([old, array], axis=0), places) for old, array in zip(self._tensors, arrays, strict=True)
        ]

    def _fitting(self, count: int) -> int:
        """Return the smallest batch size that holds so many images: the problem's, halved, with eighths between."""
        # The kernels of a size are prepared at its first use, so there are few sizes; halving alone would compute
        # a third more places than there are images, in the mean.
        size = self._problem.batch_size
        while size // 2 >= max(count, _SMALLEST) and size % 2 == 0:
            size //= 2
        if size <= _HALVED_ONLY:
            return size
        eighth = -(-size // 8)
        return min(size, -(-count // eighth) * eighth)
