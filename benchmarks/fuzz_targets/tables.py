"""Tables of images."""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from benchmarks.fuzz_targets.changes import changed
from dermrobust.attacks.errors import UserError

_COLUMNS = ["image_id", "dx", "age", "lesion_id"]
_CELLS = ["sex", "a", "b", "mel", "nv", "40", "-1", "nan", "", " ", '"', '""', "\ufeff"]
_MARKS = [",", ";", "\t", "\n", "\r\n", "\r", '"', "\0", "\x1a", "é"]


def tables() -> SearchStrategy[bytes]:
    """Return tables of a few cells and separators."""
    written = st.lists(st.sampled_from([*_COLUMNS, *_CELLS, *_MARKS]), max_size=60).map(
        lambda parts: "".join(parts).encode()
    )
    row = st.lists(st.sampled_from(_CELLS), min_size=3, max_size=3).map(",".join)
    table = st.lists(row, max_size=6).map(lambda rows: "\n".join(["image_id,dx,age", *rows]).encode())
    return st.one_of(written, table, changed(table))


def read_table(content: bytes, folder: Path) -> None:
    """Read a table as metadata of a data set and as labels of an audit; it is refused if both refuse it."""
    from dermrobust.components.audit.labels import read_labels

    path = folder / "metadata.csv"
    path.write_bytes(content)
    refusals = []
    for read in (_read_metadata, read_labels):
        try:
            read(path)
        except UserError as refusal:
            refusals.append(refusal)
    if len(refusals) == 2:
        raise refusals[0]


def _read_metadata(path: Path) -> None:
    """Read a table as the data set `folder` does."""
    from dermrobust.components.csv_table import read_csv
    from dermrobust.components.ingest.datasets.folder.source import FolderSource
    from dermrobust.components.ingest.datasets.listing import listing_of

    source = FolderSource()
    table = read_csv(path)
    table.require(source.required_columns, "")
    listing_of(table.rows, source.resolved_task, {})
