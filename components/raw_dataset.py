"""Reader of a dataset artifact: the task, and the shards that TFDS prepared."""

from __future__ import annotations

import functools
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds

from dermrobust.components import storage
from dermrobust.components.artifacts import Artifact
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
    return Task.model_validate(artifact.read_json(TASK_FILE))


def shard_counts(uri: str) -> dict[Split, list[int]]:
    """Return the number of records of every shard of every split."""
    splits = _builder(uri).info.splits
    return {split: list(splits[split.value].shard_lengths) for split in Split}


def read_shard(uri: str, split: Split, index: int) -> tf.data.Dataset:
    """Return the records of one shard as nested features, images still encoded, in the order of the shard.

    Raises:
        UserError: the shard is damaged.
    """
    local_shard(str(_builder(uri).info.splits[split.value].filepaths[index]))
    instruction = tfds.core.ReadInstruction(split.value, from_=index, to=index + 1, unit="shard")
    decoders = {"image": {"encoded": tfds.decode.SkipDecoding()}}
    return _builder(uri).as_dataset(split=instruction, decoders=decoders, shuffle_files=False)
