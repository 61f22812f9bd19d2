"""Reader of a dataset artifact: the task, and the shards that TFDS prepared."""

from __future__ import annotations

import functools
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds

from dermrobust.components import storage
from dermrobust.components.artifacts import Artifact, read_as
from dermrobust.components.examples import Split
from dermrobust.components.shard_file import local_shard
from dermrobust.models.task import Task

FOLDER_FILE = "tfds.json"
"""File that names the folder of the prepared TFDS data set below the artifact."""
TASK_FILE = "task.json"
"""File with the classification problem."""


@functools.lru_cache(maxsize=8)
def _builder(folder: str) -> Any:
    return tfds.builder_from_directory(storage.local_folder(folder))


def folder(artifact: Artifact) -> str:
    """Return the URI of the prepared TFDS data set."""
    return artifact.path(artifact.read_json(FOLDER_FILE)["folder"])


def task(artifact: Artifact) -> Task:
    """Return the classification problem of a data set."""
    return read_as(Task, artifact, TASK_FILE)


def shard_counts(uri: str) -> dict[Split, list[int]]:
    """Return the number of records of every shard of every split."""
    splits = _builder(uri).info.splits
    return {split: list(splits[split.value].shard_lengths) for split in Split}


def shard_file(uri: str, split: Split, index: int) -> str:
    """Return the local path of a shard, a TFRecord file of records that `parse_record` reads.

    Raises:
        UserError: the shard is damaged.
    """
    return local_shard(str(_builder(uri).info.splits[split.value].filepaths[index]))


def parse_record(uri: str, serialized: tf.Tensor) -> dict[str, Any]:
    """Return the nested features of a serialized record, its image still encoded."""
    features: dict[str, Any] = _builder(uri).info.features.deserialize_example(serialized, decoders=_decoders())
    return features


def read_shard(uri: str, split: Split, index: int) -> tf.data.Dataset:
    """Return the records of one shard as nested features, images still encoded, in the order of the shard.

    Raises:
        UserError: the shard is damaged.
    """
    return tf.data.TFRecordDataset(shard_file(uri, split, index)).map(functools.partial(parse_record, uri))


def _decoders() -> dict[str, Any]:
    return {"image": {"encoded": tfds.decode.SkipDecoding()}}
