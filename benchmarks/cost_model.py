"""Cost model of a run: lines fitted to measurements, and what they say of data sets that nobody has measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Line:
    """A cost that is a constant and a part for each image.

    Attributes:
        constant: cost of no images.
        each: cost of an image.
    """

    constant: float
    each: float

    @classmethod
    def fitted(cls, images: Sequence[float], costs: Sequence[float]) -> Line:
        """Return the line with the smallest squared relative errors; its constant is not negative.

        Raises:
            ValueError: there are fewer than two sizes.
        """
        if len(set(images)) < 2:
            raise ValueError("a line needs two sizes at least")
        counts, values = np.asarray(images, np.float64), np.asarray(costs, np.float64)
        # Relative errors: a large size would otherwise decide alone.
        weights = 1 / np.maximum(values, 1e-9)
        design = np.stack([np.ones_like(counts), counts], axis=1) * weights[:, None]
        constant, each = np.linalg.lstsq(design, values * weights, rcond=None)[0]
        if constant < 0:
            constant, each = 0.0, float((counts * values * weights**2).sum() / (counts**2 * weights**2).sum())
        return cls(float(constant), float(each))

    def at(self, images: float) -> float:
        """Return the cost of so many images."""
        return self.constant + self.each * images


@dataclass(frozen=True)
class Model:
    """Costs of the nodes of a run and of its driver.

    Attributes:
        cpu: core-seconds of each node.
        written: bytes that each node writes.
        files: number of files of each node.
        hash_seconds: seconds in which the driver hashes a byte.
        file_seconds: seconds that the driver needs for a file besides: listing, opening, entry of the manifest.
        pair_seconds: core-seconds of comparing two images of different splits for copies.
        row_bytes: memory of one worker for each image, in the slice of all test images, when metrics are computed.
    """

    cpu: Mapping[str, Line]
    written: Mapping[str, Line]
    files: Mapping[str, Line]
    hash_seconds: float
    file_seconds: float
    pair_seconds: float
    row_bytes: float

    def core_seconds(self, images: float) -> float:
        """Return the core-seconds of all nodes, comparing pairs of images included."""
        return sum(line.at(images) for line in self.cpu.values()) + self.pairs(images) * self.pair_seconds

    def bytes_written(self, images: float) -> float:
        """Return the bytes of all artifacts; about as many are read."""
        return sum(line.at(images) for line in self.written.values())

    def file_count(self, images: float) -> float:
        """Return the number of files of all artifacts."""
        return sum(line.at(images) for line in self.files.values())

    @staticmethod
    def pairs(images: float) -> float:
        """Return the number of pairs of images in different splits of 70, 10 and 20 %."""
        return images**2 * (0.7 * 0.1 + 0.7 * 0.2 + 0.1 * 0.2)

    def bottlenecks(self, images: float, workers: int, memory: float) -> Iterator[Bottleneck]:
        """Yield what does not become faster or smaller with more workers, and pairs, the worst first.

        Args:
            images: number of images.
            workers: number of cores.
            memory: bytes of memory of a worker.
        """
        parallel = sum(line.at(images) for line in self.cpu.values()) / workers
        found = [
            Bottleneck("the driver hashes all files", self.bytes_written(images) * self.hash_seconds / parallel),
            Bottleneck("the driver lists and notes all files", self.file_count(images) * self.file_seconds / parallel),
            Bottleneck("pairs of images are compared", self.pairs(images) * self.pair_seconds / workers / parallel),
            Bottleneck("one worker holds the rows of a slice", images * self.row_bytes / memory),
        ]
        yield from sorted(found, key=lambda each: -each.ratio)


@dataclass(frozen=True)
class Bottleneck:
    """Work that limits a run.

    Attributes:
        name: what it is.
        ratio: its time as a multiple of the time of all other work on all cores, or its share of a worker's memory;
            above 1 it decides.
    """

    name: str
    ratio: float
