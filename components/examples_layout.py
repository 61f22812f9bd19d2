"""Layout of an examples artifact: splits, names of shards, and its spec; importable without TensorFlow."""

from __future__ import annotations

import enum

from pydantic import BaseModel, ConfigDict

from dermrobust.components.artifacts import Artifact, read_as
from dermrobust.models.preprocessing import Preprocessing
from dermrobust.models.task import Task

SPEC = "examples.json"


class Split(enum.StrEnum):
    """Purpose of an image; all images of a group, such as those of one lesion, are in the same split."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class ExamplesSpec(BaseModel):
    """Description of an examples artifact, stored as `examples.json` beside the shards.

    Attributes:
        task: the classification problem; its `record_features` are the features of every record.
        preprocessing: how the images were made.
        shards: number of files of each split.
        lengths: number of images of each file of each split.
        counts: number of images of each split.
        class_counts: number of images of each class, in the order of the labels, of each split.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: Task
    preprocessing: Preprocessing
    shards: dict[Split, int]
    lengths: dict[Split, list[int]]
    counts: dict[Split, int]
    class_counts: dict[Split, list[int]]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Classes in the order of their labels."""
        return self.task.class_names

    @classmethod
    def read(cls, artifact: Artifact) -> ExamplesSpec:
        """Read the spec of an artifact."""
        return read_as(cls, artifact, SPEC)


def shard_name(split: str, index: int, count: int) -> str:
    """Return the file name of a shard."""
    return f"{split}-{index:05d}-of-{count:05d}.tfrecord"


def shard_uris(artifact: Artifact, spec: ExamplesSpec, split: Split) -> list[str]:
    """Return the shards of a split in order."""
    count = spec.shards[split]
    return [artifact.path(shard_name(split, index, count)) for index in range(count)]
