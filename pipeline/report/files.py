"""Reading the files of artifacts without Beam where they lie on this machine, so that a report is there at once."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dermrobust.attacks.errors import UserError
from dermrobust.components import storage

METRICS = "metrics.parquet"
CORRUPTIONS = "corruptions.parquet"
COMPARISONS = "comparisons.parquet"
CHECKS = "checks.json"
GALLERY = "gallery.parquet"
DESCRIPTION = "evaluation.json"
ADAPTIVE = "adaptive.json"
BLESSING = "blessing.json"


def read_bytes(uri: str) -> bytes | None:
    """Return a file's content, or None where there is no such file."""
    if storage.is_local(uri):
        path = Path(uri)
        return path.read_bytes() if path.is_file() else None
    return storage.read_bytes(uri) if storage.exists(uri) else None


def read_json(uri: str) -> Any:
    """Return the content of a JSON file, or None where there is no such file.

    Raises:
        UserError: it holds something else.
    """
    content = read_bytes(uri)
    if content is None:
        return None
    try:
        return json.loads(content)
    except ValueError as error:
        raise UserError(f"'{uri}' is not valid JSON ({error}); evaluate again: dermrobust evaluate --force") from error


def read_rows(uri: str) -> list[Mapping[str, Any]] | None:
    """Return the rows of a Parquet file, or None where there is no such file; NaN is read as None.

    Raises:
        UserError: it holds something else.
    """
    content = read_bytes(uri)
    if content is None:
        return None
    try:
        rows: list[dict[str, Any]] = pq.read_table(io.BytesIO(content)).to_pylist()
    except pa.ArrowException as error:
        raise UserError(
            f"'{uri}' is not a Parquet file ({error}); evaluate again: dermrobust evaluate --force"
        ) from error
    return [{name: None if value != value else value for name, value in row.items()} for row in rows]
