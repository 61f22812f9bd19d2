"""Attacking one shard of examples and writing the result: the unit of work on a Beam worker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from dermrobust.attacks.attack import Attack
from dermrobust.attacks.engine import attack_pixels, record_seeds
from dermrobust.attacks.target import Target
from dermrobust.attacks.threat import ThreatModel
from dermrobust.components import storage
from dermrobust.components.examples import Batch, encode, encode_pixels


@dataclass(frozen=True)
class Crafting:
    """How adversarial examples are made.

    Attributes:
        name: of the attack, as it stands on every record.
        attack: the attack and its parameters.
        threat: the budget.
        batch_size: images a step.
        seed: of random starts.
        source_model: fingerprint of the attacked model, as it stands on every record.
        stop_at_success: leave an image as soon as the model errs on it.
    """

    name: str
    attack: Attack
    threat: ThreatModel
    batch_size: int
    seed: int
    source_model: str
    stop_at_success: bool

    def craft(self, target: Target, batch: Batch) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Return adversarial images of a batch: uint8 [count, size, size, 3], inside the budget."""
        return attack_pixels(
            self.attack,
            target,
            batch.pixels,
            batch.labels,
            record_seeds(batch.columns["image/id"], attack=self.name, threat=self.threat, seed=self.seed),
            threat=self.threat,
            batch_size=self.batch_size,
            stop_at_success=self.stop_at_success,
        )

    def records(self, batch: Batch, pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> Iterator[bytes]:
        """Yield serialized adversarial records."""
        for index, image in enumerate(pixels):
            yield encode(
                {
                    **batch.record(index),
                    "image/encoded": encode_pixels(image),
                    "attack": self.name,
                    "norm": str(self.threat.norm),
                    "epsilon": float(self.threat.epsilon),
                    "source_model": self.source_model,
                }
            )


def write_records(uri: str, records: Iterator[bytes] | Sequence[bytes]) -> None:
    """Write a TFRecord file that appears as a whole."""
    with storage.atomic_file(uri) as path, tf.io.TFRecordWriter(path) as writer:
        for record in records:
            writer.write(record)
