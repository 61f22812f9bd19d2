"""Parquet tables of evaluations; a pipeline writes the same bytes whatever the order of its elements."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq

from dermrobust.components import storage


def write_table(uri: str, table: pa.Table) -> None:
    """Write a table as Parquet; it appears as a whole."""
    sink = io.BytesIO()
    pq.write_table(table, sink)
    storage.write_bytes(uri, sink.getvalue())


def read_tables(uris: Sequence[str]) -> pa.Table:
    """Return the rows of Parquet files of one schema, in the order of the files."""
    return pa.concat_tables([_read(uri) for uri in uris])


class WriteTable(beam.PTransform):
    """Writes rows (dictionaries) or tables to one Parquet file, sorted; there must be few of them.

    Args:
        uri: URI of the file.
        schema: columns of the rows.
        keys: columns to sort by, descending with a minus in front; rows that agree in all of them must be equal.
    """

    def __init__(self, uri: str, schema: pa.Schema, keys: Sequence[str]) -> None:
        super().__init__()
        self._uri, self._schema = uri, schema
        self._order = [(name.lstrip("-"), "descending" if name.startswith("-") else "ascending") for name in keys]

    def expand(self, found: beam.PCollection) -> beam.PCollection:
        """Gather the elements and write them."""
        return found | "Gather" >> beam.combiners.ToList() | "Write" >> beam.Map(self._write)

    def _write(self, found: list[Any]) -> None:
        tables = [item for item in found if isinstance(item, pa.Table)]
        rows = [item for item in found if not isinstance(item, pa.Table)]
        table = pa.concat_tables([*tables, pa.Table.from_pylist(rows, schema=self._schema)])
        write_table(self._uri, table.sort_by(self._order).combine_chunks())


def read_columns(uri: str, columns: Sequence[str]) -> pa.Table:
    """Return columns of a Parquet file.

    Raises:
        ValueError: one of them is missing.
    """
    with storage.open_read(uri) as file:
        parquet = pq.ParquetFile(file)
        found = parquet.schema_arrow.names
        missing = sorted(set(columns) - set(found))
        if missing:
            raise ValueError(f"evaluate: '{uri}' has no column {', '.join(missing)} (found: {', '.join(found)})")
        return parquet.read(columns=list(columns))


def _read(uri: str) -> pa.Table:
    with storage.open_read(uri) as file:
        return pq.read_table(file)
