"""Predictions artifact: layout and columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from dermrobust.attacks.threat import ThreatModel
from dermrobust.components import storage
from dermrobust.components.artifacts import Artifact
from dermrobust.components.examples_layout import Split, shard_name
from dermrobust.models.task import Task, column

PREDICTIONS = "predictions"
"""Folder of the tables, one for each shard of the test split."""
ADVERSARIAL = "adversarial"
"""Folder of the adversarial images that were scored, by attack and budget."""

_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float32()}
_SCORED = [
    ("model", pa.string()),
    ("attack", pa.string()),
    ("norm", pa.string()),
    ("epsilon", pa.float32()),
    ("probabilities", pa.list_(pa.float32())),
    ("predicted", pa.int64()),
    ("radius", pa.float32()),
]
"""`radius` is null except under attacks that minimize the perturbation. There it is the distance of the misclassified
image in 1/255, or the budget where none was found."""


def predictions_schema(task: Task, slices: Sequence[str] = ()) -> pa.Schema:
    """Return the columns of predictions: those of a record, its derived slice features, and what was predicted.

    Args:
        task: the classification problem.
        slices: names of the slice features that are derived from the pixels.
    """
    features = [(column(name), _TYPES[kind]) for name, kind in task.record_features.items()]
    return pa.schema([*features, *((name, pa.string()) for name in slices), *_SCORED])


def predictions_table(rows: Iterable[dict[str, Any]], task: Task, slices: Sequence[str]) -> pa.Table:
    """Return predictions as a table; rows have the names of a record's features, and a missing number is null."""
    schema = predictions_schema(task, slices)
    named = [{column(name): value for name, value in row.items()} for row in rows]
    columns = [
        pa.array([row[field.name] for row in named], field.type, from_pandas=pa.types.is_floating(field.type))
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def prediction_uris(predictions: Artifact) -> list[str]:
    """Return the Parquet shards of a predictions artifact in order."""
    names = storage.list_files(predictions.path(PREDICTIONS))
    return [predictions.path(PREDICTIONS, name) for name in names if name.endswith(".parquet")]


def part_name(index: int, count: int) -> str:
    """Return the file name of a shard's predictions."""
    return f"part-{index:05d}-of-{count:05d}.parquet"


def folder_name(attack: str, threat: ThreatModel) -> str:
    """Return the name of the folder of an attack's images at a budget."""
    return f"{attack}-{threat.norm}-{threat.epsilon:g}"


def adversarial_name(attack: str, threat: ThreatModel, index: int, count: int) -> str:
    """Return the path of a shard of adversarial test images in an artifact."""
    return storage.join(ADVERSARIAL, folder_name(attack, threat), shard_name(Split.TEST, index, count))
