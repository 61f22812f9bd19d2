"""Quarantine: a table of the records that cannot be used, with their reasons, and the limit on their number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from dermrobust.attacks.errors import UserError
from dermrobust.components import storage
from dermrobust.components.image_validation import Reason

FILE = "quarantine.parquet"
_SCHEMA = pa.schema([("id", pa.string()), ("reason", pa.string()), ("detail", pa.string())])


@dataclass(frozen=True)
class QuarantinedRecord:
    """Id of a record that cannot be used, kind of the problem, and what exactly was found."""

    id: str
    reason: Reason
    detail: str


def write(uri: str, records: Sequence[QuarantinedRecord]) -> None:
    """Write the quarantine table `quarantine.parquet` (id, reason, detail) below a URI, sorted by id."""
    rows = [
        {"id": record.id, "reason": record.reason.value, "detail": record.detail}
        for record in sorted(records, key=lambda record: (record.id, record.reason, record.detail))
    ]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), sink)
    storage.write_bytes(storage.join(uri, FILE), sink.getvalue().to_pybytes())


def check(records: Sequence[QuarantinedRecord], total: int, max_bad_fraction: float) -> None:
    """Refuse a data set of which too much is unusable.

    Raises:
        UserError: more than `max_bad_fraction` of all records are bad; the message lists the five commonest reasons.
    """
    if total == 0:
        raise UserError("ingest: the metadata has no rows; there is nothing to ingest")
    fraction = len(records) / total
    if fraction <= max_bad_fraction:
        return
    lines = [f"  {count:6d}  {text}" for text, count in _commonest(records)]
    raise UserError(
        f"ingest: {len(records)} of {total} records ({fraction:.1%}) cannot be used; at most "
        f"max_bad_fraction = {max_bad_fraction:.1%} may be. The commonest reasons:\n"
        + "\n".join(lines)
        + "\nCorrect the data, or raise ingest.max_bad_fraction."
    )


def _commonest(records: Sequence[QuarantinedRecord]) -> list[tuple[str, int]]:
    counts = Counter(record.reason for record in records)
    examples = {record.reason: record for record in reversed(records)}
    return [
        (f"{reason} (such as {examples[reason].id}: {examples[reason].detail})", count)
        for reason, count in counts.most_common(5)
    ]
