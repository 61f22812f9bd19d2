"""Adversarial examples of a shard: crafting, and the records that are stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import tensorflow as tf

from dermrobust.attacks.attack import Attack
from dermrobust.attacks.engine import attack_pixels, record_seeds
from dermrobust.attacks.target import Target
from dermrobust.attacks.threat import Pixels, ThreatModel
from dermrobust.components import storage
from dermrobust.components.examples import Batch, encode, encode_pixels
from dermrobust.models.task import IMAGE, IMAGE_ID


@dataclass(frozen=True)
class Crafting:
    """An attack with everything that it needs beside model and images.

    Attributes:
        name: Name of the attack in results, written to every record.
        attack: Attack with its parameters.
        threat: Budget.
        batch_size: Number of images per gradient step.
        seed: Random seed of the attack.
        source_model: Fingerprint of the attacked model, written to every record.
        stop_at_success: Leave an image as soon as the model errs on it.
    """

    name: str
    attack: Attack
    threat: ThreatModel
    batch_size: int
    seed: int
    source_model: str
    stop_at_success: bool

    def craft(self, target: Target, batch: Batch) -> Pixels:
        """Return adversarial images of a batch: uint8 [count, height, width, 3], inside the budget."""
        return attack_pixels(
            self.attack,
            target,
            batch.pixels,
            batch.labels,
            # A seed for each image by its id: neither shards, bundles nor retries change an adversarial image.
            record_seeds(batch.columns[IMAGE_ID], attack=self.name, threat=self.threat, seed=self.seed),
            threat=self.threat,
            batch_size=self.batch_size,
            stop_at_success=self.stop_at_success,
        )

    def records(self, batch: Batch, pixels: Pixels) -> Iterator[bytes]:
        """Yield serialized adversarial records: the features of the clean ones, and those of the attack."""
        for index, image in enumerate(pixels):
            yield encode(
                {
                    **batch.record(index),
                    IMAGE: encode_pixels(image),
                    "attack": self.name,
                    "norm": str(self.threat.norm),
                    "epsilon": float(self.threat.epsilon),
                    "source_model": self.source_model,
                }
            )


def write_records(uri: str, records: Iterator[bytes] | Sequence[bytes]) -> None:
    """Write a TFRecord file that appears as a whole."""
    with storage.local_writing(uri) as path, tf.io.TFRecordWriter(path) as writer:
        for record in records:
            writer.write(record)
