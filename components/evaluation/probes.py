"""Probes artifact: layout and columns."""

from __future__ import annotations

import pyarrow as pa

from dermrobust.components import storage
from dermrobust.components.artifacts import Artifact
from dermrobust.models.task import Task, column

PROBES, HEALTH, CORRUPTED = "probes", "health", "corrupted"

MORE_STEPS, MORE_RESTARTS, LARGE = "twice the steps", "twice the restarts", "large budget"

PROBES_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("label", pa.int64()),
        ("epsilon", pa.float32()),
        ("probe", pa.string()),
        ("attack", pa.string()),
        ("stood", pa.bool_()),
        ("probabilities", pa.list_(pa.float32())),
        ("predicted", pa.int64()),
    ]
)
HEALTH_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("gradient", pa.float32()),
        ("repeated", pa.float32()),
        ("reordered", pa.float32()),
        ("like_probabilities", pa.bool_()),
        ("from_probabilities", pa.bool_()),
        ("black_box", pa.bool_()),
    ]
)


def corrupted_schema(task: Task) -> pa.Schema:
    """Return the columns of predictions on corrupted images."""
    group = [] if task.group_key is None else [(column(task.group_key), pa.string())]
    return pa.schema(
        [
            ("image_id", pa.string()),
            *group,
            ("label", pa.int64()),
            ("corruption", pa.string()),
            ("severity", pa.int64()),
            ("predicted", pa.int64()),
        ]
    )


def probe_uris(probes: Artifact, folder: str) -> list[str]:
    """Return the Parquet shards of a probes artifact in order: of PROBES, HEALTH or CORRUPTED."""
    return [probes.path(folder, name) for name in storage.list_files(probes.path(folder))]
