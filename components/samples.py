"""Samples of a split: the same images whatever the size of its shards."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dermrobust.components.examples import Batch, ExamplesSpec, Split


@dataclass(frozen=True)
class SplitOrder:
    """Order of the images of a split, which is the same for shards of any size.

    Attributes:
        starts: number of images before each shard, and at the end the number of all.
    """

    starts: tuple[int, ...]

    @classmethod
    def of(cls, spec: ExamplesSpec, split: Split) -> SplitOrder:
        """Return the order of a split."""
        return cls(tuple(itertools.accumulate(spec.lengths[split], initial=0)))

    def sample(self, shard: int, batch: Batch, images: int | None) -> Batch:
        """Return what a sample of the split has of a shard.

        Args:
            shard: index of the shard.
            batch: all its images.
            images: number of images of the sample, which are evenly spaced in the split; None: all.
        """
        return batch.chosen(self.flags(shard, images))

    def size(self, shard: int, images: int | None) -> int:
        """Return the number of images that a sample of the split has in a shard; see `sample`."""
        return int(self.flags(shard, images).sum())

    def flags(self, shard: int, images: int | None) -> npt.NDArray[np.bool_]:
        """Return which images of a shard are in a sample of the split: bool [image]; see `sample`."""
        places, total = np.arange(self.starts[shard], self.starts[shard + 1]), self.starts[-1]
        count = total if images is None else min(images, total)
        # True at the places ceil(i * total / count): exactly `count` times in the split, with gaps that differ by one.
        flags: npt.NDArray[np.bool_] = places * count % max(1, total) < count
        return flags
