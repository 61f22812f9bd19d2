"""Predictions artifact: layout, columns, reading and writing."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dermrobust.attacks.threat import ThreatModel
from dermrobust.components import storage
from dermrobust.components.artifacts import Artifact

PREDICTIONS = "predictions"
ADVERSARIAL = "adversarial"

SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("lesion_id", pa.string()),
        ("label", pa.int64()),
        ("dx", pa.string()),
        ("age", pa.float32()),
        ("age_group", pa.string()),
        ("sex", pa.string()),
        ("localization", pa.string()),
        ("skin_tone", pa.string()),
        ("model", pa.string()),
        ("attack", pa.string()),
        ("norm", pa.string()),
        ("epsilon", pa.float32()),
        ("probabilities", pa.list_(pa.float32())),
        ("predicted", pa.int64()),
    ]
)
RENAMED = {"image/id": "image_id", "lesion/id": "lesion_id"}


def prediction_uris(predictions: Artifact) -> list[str]:
    """Return the Parquet shards of a predictions artifact in order."""
    names = storage.list_files(predictions.path(PREDICTIONS))
    return [predictions.path(PREDICTIONS, name) for name in names if name.endswith(".parquet")]


def folder_name(attack: str, threat: ThreatModel) -> str:
    """Return the name of the folder of an attack's images."""
    return f"{attack}-{threat.norm}-{threat.epsilon:g}"


def write_predictions(uri: str, rows: list[dict[str, Any]]) -> None:
    """Write predictions as Parquet; see `SCHEMA`. A missing age is null."""
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    ages = table.column("age").to_numpy()
    table = table.set_column(table.schema.get_field_index("age"), "age", pa.array(ages, pa.float32(), from_pandas=True))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    storage.write_bytes(uri, sink.getvalue().to_pybytes())
