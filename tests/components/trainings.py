"""Trainings of a tiny network, and progress that interrupts them."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from dermrobust.components import storage
from dermrobust.components.artifacts import Artifact
from dermrobust.components.examples import ExamplesSpec, Split, shard_uris
from dermrobust.components.model_files import NETWORK
from dermrobust.components.progress import Task
from dermrobust.components.train import augmentation
from dermrobust.components.train.component import TrainParams
from dermrobust.components.train.data import TrainingData
from dermrobust.components.train.loop import Training
from dermrobust.components.train.work_folder import WorkFolder
from tests.small_networks import CLASS_COUNT


def changed(params: TrainParams, **values: Any) -> TrainParams:
    return TrainParams.model_validate({**params.model_dump(), **values})


def network_bytes(model: Artifact) -> bytes:
    return storage.read_bytes(model.path(NETWORK))


class Interrupted(Exception):
    """Stands for a crash."""


class Steps:
    """Progress that counts steps and keeps lines, and crashes after so many steps."""

    def __init__(self, last: int | None = None) -> None:
        self.advances: list[int] = []
        self.lines: list[str] = []
        self.total: int | None = None
        self._last = last

    @contextlib.contextmanager
    def task(self, description: str, total: int | None, unit: str) -> Iterator[Task]:
        self.total = total
        yield self

    def advance(self, amount: int = 1) -> None:
        self.advances.append(amount)
        if self._last is not None and sum(self.advances) >= self._last:
            raise Interrupted

    def note(self, text: str) -> None:
        pass

    def line(self, text: str) -> None:
        self.lines.append(text)


def training(
    examples: Artifact,
    work: WorkFolder | Path,
    network: keras.Model,
    params: TrainParams,
    validate: Callable[[], dict[str, float]],
    tell: Callable[[str], None] = lambda line: None,
) -> Training:
    """A training of the tiny network on clean images, not augmented."""
    spec = ExamplesSpec.read(examples)
    data = TrainingData(
        files=shard_uris(examples, spec, Split.TRAIN),
        count=spec.counts[Split.TRAIN],
        height=spec.preprocessing.height,
        width=spec.preprocessing.width,
        batch_size=params.batch_size,
        shuffle_buffer=1000,
        seed=0,
        augmentation=augmentation.none,
    )
    weights = np.ones(CLASS_COUNT, np.float32)
    work = work if isinstance(work, WorkFolder) else WorkFolder(work, None)
    return Training(network, data, validate, weights, work, tell)
