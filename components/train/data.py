"""Training images of an epoch, streamed from shards in an order that follows from seed and epoch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from dermrobust.components.examples import FEATURES, parse_pixels
from dermrobust.components.shard_file import local_shard
from dermrobust.components.train.augmentation import Augmentation
from dermrobust.models.pixels import to_network_input
from dermrobust.models.task import LABEL

_FILES_AT_ONCE = 8
_SEEDS_PER_STEP = 16
"""Distance between the seeds of two steps: an augmentation derives further seeds by adding small numbers."""
_EPOCHS_PER_SEED = 10_007
"""Distance between the shuffle seeds of two training seeds: the bound of `epochs`, next prime."""


@dataclass(frozen=True)
class TrainingData:
    """Shards to train on.

    Attributes:
        files: TFRecord files of clean and adversarial examples.
        count: Number of records in them.
        height: Height of the images in pixels.
        width: Width of the images in pixels.
        batch_size: Number of images per step, at most `count`.
        shuffle_buffer: Number of records shuffled at a time.
        seed: Seed of the order and of the augmentation.
        augmentation: Random changes of the images.
        sampling_rates: Mean number of times that an image of each class is drawn in an epoch, float32 [class_count];
            the mean over the images is 1. None: every image once.
    """

    files: Sequence[str]
    count: int
    height: int
    width: int
    batch_size: int
    shuffle_buffer: int
    seed: int
    augmentation: Augmentation
    sampling_rates: np.ndarray[Any, np.dtype[np.float32]] | None = None

    @functools.cached_property
    def _local_files(self) -> list[str]:
        return [local_shard(uri) for uri in self.files]

    @functools.cached_property
    def _parse(self) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
        return parse_pixels(self.height, self.width)

    @property
    def steps(self) -> int:
        """Number of steps in an epoch; images that do not fill a batch are left to other epochs."""
        return self.count // self.batch_size

    def epoch(self, epoch: int) -> tf.data.Dataset:
        """Return (images float32 [batch, height, width, 3] in [0, 1], labels int64 [batch]) of one epoch, augmented."""
        order = self.seed * _EPOCHS_PER_SEED + epoch
        # Shuffled by file and then by record, which mixes well with a buffer far smaller than the data set.
        files = tf.data.Dataset.from_tensor_slices(self._local_files).shuffle(len(self.files), seed=order)
        records = files.interleave(tf.data.TFRecordDataset, cycle_length=_FILES_AT_ONCE)
        if self.sampling_rates is not None:
            records = self._resampled(records, epoch)
        # Still encoded here: a buffer of decoded images would take many times the memory.
        records = records.shuffle(min(self.count, self.shuffle_buffer), seed=order)
        if self.sampling_rates is not None:
            # The drawn records may be a few short of an epoch, or a few too many.
            records = records.repeat().take(self.steps * self.batch_size)
        pixels = records.map(self._parse, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        batches = pixels.batch(self.batch_size, drop_remainder=True).enumerate(epoch * self.steps)
        # Augmented here and not in the training step: on an idle core beside it, and with operations that XLA lacks.
        images = batches.map(self._augment, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return images.prefetch(tf.data.AUTOTUNE)

    def _resampled(self, records: tf.data.Dataset, epoch: int) -> tf.data.Dataset:
        """Return records, each repeated by the rate of its class, rounded up or down at random.

        One pass over the files, which holds nothing in memory; images of a class are drawn as evenly as possible.
        """
        rates = tf.constant(self.sampling_rates)

        def copies(index: tf.Tensor, serialized: tf.Tensor) -> tf.Tensor:
            label = tf.io.parse_single_example(serialized, {LABEL: FEATURES[LABEL]})[LABEL]
            # The draw depends on the record's place alone, so that a resumed training draws the same records.
            seed = tf.stack([tf.constant(self.seed, tf.int64), index])
            count = tf.floor(tf.gather(rates, label) + tf.random.stateless_uniform((), seed))
            return tf.fill([tf.cast(count, tf.int32)], serialized)

        numbered = records.enumerate(epoch * self.count)
        return numbered.map(copies, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).unbatch()

    @functools.cached_property
    def _augment(self) -> Callable[[tf.Tensor, tuple[tf.Tensor, tf.Tensor]], tuple[tf.Tensor, tf.Tensor]]:
        # Traced once, and not in each epoch.
        @tf.function(autograph=False)
        def augment(step: tf.Tensor, batch: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
            pixels, labels = batch
            seed = tf.stack([tf.constant(self.seed, tf.int64), step * _SEEDS_PER_STEP])
            return self.augmentation(to_network_input(pixels), seed), labels

        return augment
