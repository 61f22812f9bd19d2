"""Records of images: their features, how they are written and read, and the spec of an examples artifact."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from dermrobust.components.examples_layout import SPEC as SPEC
from dermrobust.components.examples_layout import ExamplesSpec as ExamplesSpec
from dermrobust.components.examples_layout import Split as Split
from dermrobust.components.examples_layout import shard_name as shard_name
from dermrobust.components.examples_layout import shard_uris as shard_uris
from dermrobust.components.shard_file import read_records, readable
from dermrobust.models.task import IMAGE, IMAGE_ID, LABEL, UNKNOWN, Task

FEATURES: dict[str, Any] = {
    IMAGE: tf.io.FixedLenFeature([], tf.string),
    IMAGE_ID: tf.io.FixedLenFeature([], tf.string),
    LABEL: tf.io.FixedLenFeature([], tf.int64),
}
"""Features that a record has whatever its task is; see `record_features` for the others."""


def record_features(task: Task) -> dict[str, Any]:
    """Return the features of a task's records, as `tf.io.parse_example` takes them.

    What the metadata may lack has a default: no group, NaN, "unknown". Adversarial records have `attack`, `norm`,
    `epsilon` (in 1/255) and `source_model` besides.
    """
    found = {IMAGE: FEATURES[IMAGE]}
    for name, kind in task.record_features.items():
        if name in FEATURES:
            found[name] = FEATURES[name]
        elif name == task.class_key:
            found[name] = tf.io.FixedLenFeature([], tf.string)
        elif kind is float:
            found[name] = tf.io.FixedLenFeature([], tf.float32, math.nan)
        else:
            found[name] = tf.io.FixedLenFeature([], tf.string, "" if name == task.group_key else UNKNOWN)
    return found


def encode(values: dict[str, str | bytes | int | float]) -> bytes:
    """Return a serialized `tf.Example` of scalar features."""
    features = {}
    for name, value in values.items():
        if isinstance(value, str | bytes):
            content = value.encode() if isinstance(value, str) else value
            features[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[content]))
        elif isinstance(value, int):
            features[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        else:
            features[name] = tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
    example = tf.train.Example(features=tf.train.Features(feature=features))
    # Map entries have no order of their own; equal records must be equal bytes, whatever the process.
    return bytes(example.SerializeToString(deterministic=True))


@dataclass(frozen=True)
class Batch:
    """Records side by side.

    Attributes:
        pixels: uint8 [count, height, width, 3].
        labels: int64 [count].
        columns: for each of the task's record features its values: str, int or float.
    """

    pixels: np.ndarray[Any, np.dtype[np.uint8]]
    labels: np.ndarray[Any, np.dtype[np.int64]]
    columns: dict[str, list[Any]]

    def first(self, count: int) -> Batch:
        """Return the first so many records."""
        columns = {name: values[:count] for name, values in self.columns.items()}
        return Batch(self.pixels[:count], self.labels[:count], columns)

    def chosen(self, flags: np.ndarray[Any, np.dtype[np.bool_]]) -> Batch:
        """Return the records where flags, bool [count], are set."""
        places = np.flatnonzero(flags)
        columns = {name: [values[place] for place in places] for name, values in self.columns.items()}
        return Batch(self.pixels[places], self.labels[places], columns)

    def record(self, index: int) -> dict[str, Any]:
        """Return the metadata of one record."""
        return {name: values[index] for name, values in self.columns.items()}


def parse_pixels(height: int, width: int) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Return a function from a serialized record to (pixels uint8 [height, width, 3], label int64)."""

    # A function of its own: `Dataset.map` traces what it is given, in every epoch of a training anew.
    @tf.function(input_signature=[tf.TensorSpec((), tf.string)], autograph=False)
    def parse(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        record = tf.io.parse_single_example(serialized, {name: FEATURES[name] for name in (IMAGE, LABEL)})
        pixels = tf.ensure_shape(tf.io.decode_png(record[IMAGE], 3), (height, width, 3))
        return pixels, record[LABEL]

    return parse


def read_shard(uri: str, task: Task) -> Iterator[Batch]:
    """Yield all records of a shard as one batch, or nothing if it has none.

    Raises:
        UserError: the shard is damaged.
    """
    with readable(uri):
        records = read_records(uri)
        batch = _batch(records, task) if len(records) else None
    # A consumer's own errors are not raised in here.
    if batch is not None:
        yield batch


def _batch(serialized: Any, task: Task) -> Batch:
    record = {name: value.numpy() for name, value in tf.io.parse_example(serialized, record_features(task)).items()}
    pixels = decode_pixels(record[IMAGE])
    columns = {name: _python_values(record[name]) for name in task.record_features}
    labels = record[LABEL]
    if labels.min() < 0 or labels.max() >= len(task.class_names):
        raise ValueError(f"a label is none of 0 to {len(task.class_names) - 1}")
    return Batch(pixels=pixels, labels=labels, columns=columns)


def decode_pixels(encoded: Sequence[bytes]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return the pixels of PNG files of one size: uint8 [image, height, width, 3]."""
    try:
        # One call for all: a call for each image would take longer than its decoding.
        decoded: np.ndarray[Any, np.dtype[np.uint8]] = _decode_all(tf.constant(encoded, tf.string)).numpy()
    except tf.errors.OpError:
        # Errors of a graph are told with its nodes; those of a single operation say what is wrong with the file.
        return np.stack([tf.io.decode_png(each, 3).numpy() for each in encoded])
    return decoded


@tf.function(input_signature=[tf.TensorSpec((None,), tf.string)], autograph=False)
def _decode_all(encoded: tf.Tensor) -> tf.Tensor:
    return tf.map_fn(lambda each: tf.io.decode_png(each, 3), encoded, fn_output_signature=tf.uint8)


def first_records(uris: Sequence[str], count: int, task: Task) -> Batch:
    """Return the first so many records of shards, or all of them where there are fewer."""
    taken: list[Batch] = []
    for uri in uris:
        missing = count - sum(len(batch.labels) for batch in taken)
        if missing <= 0:
            break
        taken += [batch.first(missing) for batch in read_shard(uri, task)]
    return Batch(
        pixels=np.concatenate([batch.pixels for batch in taken]),
        labels=np.concatenate([batch.labels for batch in taken]),
        columns={name: [value for batch in taken for value in batch.columns[name]] for name in task.record_features},
    )


def _python_values(values: np.ndarray[Any, Any]) -> list[Any]:
    listed = values.tolist()
    return [value.decode() for value in listed] if values.dtype == object else listed


def encode_pixels(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    """Return an image of uint8 [height, width, 3] as PNG, which loses nothing."""
    # Level 1 of zlib: photographs shrink hardly further at higher levels, which take several times as long.
    return bytes(tf.io.encode_png(pixels, compression=1).numpy())


def read_images(uri: str) -> tuple[list[str], np.ndarray[Any, np.dtype[np.uint8]], list[bytes]]:
    """Return the ids, the pixels uint8 [image, height, width, 3] and the PNG files of a shard.

    Raises:
        UserError: the shard is damaged.
    """
    with readable(uri):
        serialized = read_records(uri)
        if not len(serialized):
            return [], np.empty((0, 0, 0, 3), np.uint8), []
        record = tf.io.parse_example(serialized, {name: FEATURES[name] for name in (IMAGE_ID, IMAGE)})
        files = record[IMAGE].numpy().tolist()
        return [name.decode() for name in record[IMAGE_ID].numpy()], decode_pixels(files), files
