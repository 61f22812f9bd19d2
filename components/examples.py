"""The record of one image: how examples are written, read and named."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from pydantic import BaseModel, ConfigDict

from dermrobust.components.artifacts import Artifact
from dermrobust.models.preprocessing import Preprocessing

SPEC = "examples.json"
UNKNOWN = "unknown"
_WHOLE_SHARD = 1_000_000


class Split(enum.StrEnum):
    """What images are used for; all images of a lesion are in the same split."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


def age_group(age: float) -> str:
    """Return the band of 20 years that an age in years lies in; 'unknown' for NaN."""
    if math.isnan(age):
        return UNKNOWN
    low = min(int(age) // 20 * 20, 80)
    return "80+" if low == 80 else f"{low}-{low + 19}"


class ExamplesSpec(BaseModel):
    """What an examples artifact holds, as `examples.json` beside the shards."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    shards: dict[Split, int]
    counts: dict[Split, int]
    class_counts: dict[Split, list[int]]

    @classmethod
    def read(cls, artifact: Artifact) -> ExamplesSpec:
        """Read the spec of an artifact."""
        return cls.model_validate(artifact.read_json(SPEC))


def shard_name(split: str, index: int, count: int) -> str:
    """Return the file name of a shard."""
    return f"{split}-{index:05d}-of-{count:05d}.tfrecord"


def shard_uris(artifact: Artifact, spec: ExamplesSpec, split: Split) -> list[str]:
    """Return the shards of a split in order."""
    count = spec.shards[split]
    return [artifact.path(shard_name(split, index, count)) for index in range(count)]


FEATURES: dict[str, Any] = {
    "image/encoded": tf.io.FixedLenFeature([], tf.string),
    "image/id": tf.io.FixedLenFeature([], tf.string),
    "lesion/id": tf.io.FixedLenFeature([], tf.string, ""),
    "label": tf.io.FixedLenFeature([], tf.int64),
    "dx": tf.io.FixedLenFeature([], tf.string),
    "age": tf.io.FixedLenFeature([], tf.float32, math.nan),
    "age_group": tf.io.FixedLenFeature([], tf.string, UNKNOWN),
    "sex": tf.io.FixedLenFeature([], tf.string, UNKNOWN),
    "localization": tf.io.FixedLenFeature([], tf.string, UNKNOWN),
}
"""Of every record; adversarial ones add `attack`, `norm`, `epsilon` (in 1/255) and `source_model`."""

METADATA = tuple(name for name in FEATURES if name != "image/encoded")


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
    return bytes(example.SerializeToString(deterministic=True))


@dataclass(frozen=True)
class Batch:
    """Records side by side.

    Attributes:
        pixels: uint8 [count, size, size, 3].
        labels: int64 [count].
        columns: for each metadata feature its values: str, int or float.
    """

    pixels: np.ndarray[Any, np.dtype[np.uint8]]
    labels: np.ndarray[Any, np.dtype[np.int64]]
    columns: dict[str, list[Any]]

    def first(self, count: int) -> Batch:
        """Return the first so many records."""
        columns = {name: values[:count] for name, values in self.columns.items()}
        return Batch(self.pixels[:count], self.labels[:count], columns)

    def record(self, index: int) -> dict[str, Any]:
        """Return the metadata of one record."""
        return {name: values[index] for name, values in self.columns.items()}


def parse_pixels(image_size: int) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Return a function from a serialized record to (pixels uint8 [size, size, 3], label int64)."""

    def parse(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        names = ("image/encoded", "label")
        record = tf.io.parse_single_example(serialized, {name: FEATURES[name] for name in names})
        return tf.ensure_shape(tf.io.decode_png(record["image/encoded"], 3), (image_size, image_size, 3)), record[
            "label"
        ]

    return parse


def read_shard(uri: str) -> Iterator[Batch]:
    """Yield all records of a shard as one batch, or nothing if it has none; a shard is small (see preprocess)."""
    yield from read_batches(uri, _WHOLE_SHARD)


def read_batches(uri: str, batch_size: int) -> Iterator[Batch]:
    """Yield a shard's records in batches, in order; memory holds one batch at a time."""
    for serialized in tf.data.TFRecordDataset([uri]).batch(batch_size).as_numpy_iterator():
        record = {name: value.numpy() for name, value in tf.io.parse_example(serialized, FEATURES).items()}
        pixels = np.stack([tf.io.decode_png(image, 3).numpy() for image in record["image/encoded"]])
        columns = {name: _python_values(record[name]) for name in METADATA}
        yield Batch(pixels=pixels, labels=record["label"], columns=columns)


def first_records(uris: Sequence[str], count: int) -> Batch:
    """Return the first so many records of shards, or all of them where there are fewer."""
    taken: list[Batch] = []
    for uri in uris:
        missing = count - sum(len(batch.labels) for batch in taken)
        if missing <= 0:
            break
        taken += [batch.first(missing) for batch in read_shard(uri)]
    return Batch(
        pixels=np.concatenate([batch.pixels for batch in taken]),
        labels=np.concatenate([batch.labels for batch in taken]),
        columns={name: [value for batch in taken for value in batch.columns[name]] for name in METADATA},
    )


def _python_values(values: np.ndarray[Any, Any]) -> list[Any]:
    listed = values.tolist()
    return [value.decode() for value in listed] if values.dtype == object else listed


def encode_pixels(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    """Return an image of uint8 [height, width, 3] as PNG, which loses nothing."""
    return bytes(tf.io.encode_png(pixels, compression=1).numpy())
