"""The images of an epoch, streamed from shards in an order that seed and epoch give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

from components.examples import parse_pixels

_FILES_AT_ONCE = 8


@dataclass(frozen=True)
class TrainingData:
    """Shards to train on.

    Attributes:
        files: of clean and adversarial examples.
        count: records in them.
        image_size: in pixels.
        batch_size: images a step; no more than there are.
        shuffle_buffer: records that are shuffled at a time.
        seed: of the order.
    """

    files: Sequence[str]
    count: int
    image_size: int
    batch_size: int
    shuffle_buffer: int
    seed: int

    @property
    def steps(self) -> int:
        """Steps in an epoch; images that do not fill a batch are left to other epochs."""
        return self.count // self.batch_size

    def epoch(self, epoch: int) -> tf.data.Dataset:
        """Return (pixels uint8 [batch, size, size, 3], labels int64 [batch]) of one epoch."""
        order = self.seed * 10_007 + epoch
        files = tf.data.Dataset.from_tensor_slices(list(self.files)).shuffle(len(self.files), seed=order)
        records = files.interleave(tf.data.TFRecordDataset, cycle_length=_FILES_AT_ONCE)
        records = records.shuffle(min(self.count, self.shuffle_buffer), seed=order)
        images = records.map(parse_pixels(self.image_size), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return images.batch(self.batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def augment(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Turn each image to one of its eight flips and rotations by 90 degrees: float32 [batch, size, size, 3]."""
    draws = tf.random.stateless_uniform((3, tf.shape(images)[0], 1, 1, 1), seed) < 0.5
    images = tf.where(draws[0], tf.reverse(images, [1]), images)
    images = tf.where(draws[1], tf.reverse(images, [2]), images)
    return tf.where(draws[2], tf.transpose(images, (0, 2, 1, 3)), images)
