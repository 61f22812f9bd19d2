"""What a step of adversarial training costs, over a clean one; and what reading and augmenting the images costs."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from pydantic import TypeAdapter

from dermrobust.components.adversarial_shard import write_records
from dermrobust.components.examples import encode, encode_pixels
from dermrobust.components.train.augmentation import AUGMENTATIONS
from dermrobust.components.train.averaging import WeightAverage
from dermrobust.components.train.data import TrainingData
from dermrobust.components.train.step import compiled_step
from dermrobust.models.objectives.selection import AnyObjective
from dermrobust.models.registry import NETWORKS

_BATCH, _CLASSES, _STEPS_A_RUN = 64, 7, 4
_NETWORKS = {28: "small_resnet", 64: "resnet"}
_READER: TypeAdapter[Any] = TypeAdapter(AnyObjective)
_OBJECTIVES: dict[str, Any] = {
    "clean": "cross_entropy",
    "fast": "fast",
    "pgd-5": {"objective": "pgd", "steps": 5},
    "pgd-10": {"objective": "pgd", "steps": 10},
    "trades-5": {"objective": "trades", "steps": 5},
    "mart-5": {"objective": "mart", "steps": 5},
}


def rows(size: int, runs: int, names: Sequence[str] = tuple(_OBJECTIVES)) -> Iterator[dict[str, Any]]:
    """Yield a row for each objective: the cost of its step over that of a clean one, which must be among them."""
    images, labels = tf.random.uniform((_BATCH, size, size, 3)), tf.zeros((_BATCH,), tf.int64)
    cases = {name: _step(size, objective, images, labels) for name, objective in _OBJECTIVES.items() if name in names}
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for case in cases.values():
        case()
    for _ in range(3 * runs):
        for name, case in cases.items():
            started = time.perf_counter()
            for _ in range(_STEPS_A_RUN):
                case()
            seconds[name].append((time.perf_counter() - started) / _STEPS_A_RUN)
    middle = {name: statistics.median(times) for name, times in seconds.items()}
    reading = {name: input_seconds(size, name) for name in ("flips", "strong")}
    for name, value in middle.items():
        yield {
            "benchmark": "train_step",
            "model": "hardened" if name != "clean" else "undefended",
            "peer": "floor",
            "objective": name,
            "ratio": value / middle["clean"],
            "milliseconds": value * 1e3,
            "images_a_step": _BATCH,
            "input_share": _share(reading["strong" if name == "clean" else "flips"], value),
            "input_milliseconds": {kind: spent * 1e3 for kind, spent in reading.items()},
        }


def _share(cpu_seconds: float, step_seconds: float) -> float:
    """Return the part of the processor's time that input takes while steps run on all cores."""
    return cpu_seconds / (cpu_seconds + step_seconds * (os.cpu_count() or 1))


def _step(size: int, objective: Any, images: tf.Tensor, labels: tf.Tensor) -> Callable[[], None]:
    network = NETWORKS.resolve(_NETWORKS[size])().build((size, size, 3), _CLASSES, 0)
    optimizer = keras.optimizers.AdamW(1e-4)
    optimizer.build(network.trainable_variables)
    step = compiled_step(
        network,
        _READER.validate_python(objective),
        optimizer,
        np.ones(_CLASSES, np.float32),
        average=WeightAverage(network, 0.99),
        xla=False,
    )
    radius, seed = tf.constant(4 / 255), tf.constant([0, 0])

    def run() -> None:
        # Reading the loss waits until the step is done.
        float(step(images, labels, radius, seed))

    return run


def input_seconds(size: int, augmentation: str) -> float:
    """Return the processor's seconds for reading, decoding and augmenting a batch."""
    random = np.random.default_rng(0)
    count = 20 * _BATCH
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "train.tfrecord"))
        pixels = random.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
        records = [
            encode({"image/encoded": encode_pixels(image), "image/id": "a", "label": 0, "dx": "nv"}) for image in pixels
        ]
        write_records(path, records)
        data = TrainingData(
            files=[path],
            count=count,
            height=size,
            width=size,
            batch_size=_BATCH,
            shuffle_buffer=count,
            seed=0,
            augmentation=AUGMENTATIONS[augmentation],
        )
        for _ in data.epoch(0):
            pass
        started = time.process_time()
        for _ in data.epoch(1):
            pass
        return (time.process_time() - started) / data.steps
