"""The images of an epoch, streamed from shards in an order that seed and epoch give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from dermrobust.components.examples import FEATURES, parse_pixels
from dermrobust.components.train.augmentation import Augmentation
from dermrobust.models.pixels import to_network_input

_FILES_AT_ONCE = 8
_SEEDS_A_STEP = 16
"""An augmentation derives its further seeds by adding small numbers."""


@dataclass(frozen=True)
class TrainingData:
    """Shards to train on.

    Attributes:
        files: of clean and adversarial examples.
        count: records in them.
        image_size: in pixels.
        batch_size: images a step; no more than there are.
        shuffle_buffer: records that are shuffled at a time.
        seed: of the order and of the augmentation.
        augmentation: how images are changed.
        sampling_rates: float32 [class_count], how often an image of a class is drawn in an epoch, on average; the mean
            over the images is 1. None: each once.
    """

    files: Sequence[str]
    count: int
    image_size: int
    batch_size: int
    shuffle_buffer: int
    seed: int
    augmentation: Augmentation
    sampling_rates: np.ndarray[Any, np.dtype[np.float32]] | None = None

    @property
    def steps(self) -> int:
        """Steps in an epoch; images that do not fill a batch are left to other epochs."""
        return self.count // self.batch_size

    def epoch(self, epoch: int) -> tf.data.Dataset:
        """Return (augmented images float32 [batch, size, size, 3] in [0, 1], labels int64 [batch]) of one epoch."""
        order = self.seed * 10_007 + epoch
        files = tf.data.Dataset.from_tensor_slices(list(self.files)).shuffle(len(self.files), seed=order)
        records = files.interleave(tf.data.TFRecordDataset, cycle_length=_FILES_AT_ONCE)
        if self.sampling_rates is not None:
            records = self._resampled(records, epoch)
        records = records.shuffle(min(self.count, self.shuffle_buffer), seed=order)
        if self.sampling_rates is not None:
            # What was drawn may fall a few images short of an epoch, or be a few too many.
            records = records.repeat().take(self.steps * self.batch_size)
        pixels = records.map(parse_pixels(self.image_size), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        batches = pixels.batch(self.batch_size, drop_remainder=True).enumerate(epoch * self.steps)
        # Changed here and not in the training step: beside it, on whichever core is free, and whether or not XLA can.
        images = batches.map(self._augment, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return images.prefetch(tf.data.AUTOTUNE)

    def _resampled(self, records: tf.data.Dataset, epoch: int) -> tf.data.Dataset:
        """Return records, each as often as the rate of its class says: rounded up or down at random.

        One pass over the files, which keeps nothing; images of a class are drawn as evenly as can be.
        """
        rates = tf.constant(self.sampling_rates)

        def copies(index: tf.Tensor, serialized: tf.Tensor) -> tf.Tensor:
            label = tf.io.parse_single_example(serialized, {"label": FEATURES["label"]})["label"]
            seed = tf.stack([tf.constant(self.seed, tf.int64), index])
            count = tf.floor(tf.gather(rates, label) + tf.random.stateless_uniform((), seed))
            return tf.fill([tf.cast(count, tf.int32)], serialized)

        numbered = records.enumerate(epoch * self.count)
        return numbered.map(copies, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).unbatch()

    def _augment(self, step: tf.Tensor, batch: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        pixels, labels = batch
        seed = tf.stack([tf.constant(self.seed, tf.int64), step * _SEEDS_A_STEP])
        return self.augmentation(to_network_input(pixels), seed), labels
