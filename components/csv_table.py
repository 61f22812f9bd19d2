"""Reader of CSV tables: metadata of data sets and labels of audited images."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv

from dermrobust.attacks.errors import UserError

_SEPARATORS = (",", "\t", ";")
_MOST_BYTES = 1 << 30
"""Size of the largest table that is read: several million rows."""
_MOST_COLUMNS = 10_000
"""Arrow takes several KiB for each of them, whatever it holds."""
_LISTED = 20
"""Column names that a message gives at most; one-hot tables and exports can have hundreds."""
_SHOWN = 60
"""Characters of a bad line that a message gives."""
_TRUE, _FALSE = ("1", "1.0"), ("0", "0.0")


@dataclass(frozen=True)
class CsvTable:
    """A table as text.

    Attributes:
        path: where it was read.
        columns: names in their order, without unnamed columns.
        rows: values without margins, by column; rows without any value are left out.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[dict[str, str], ...]

    @property
    def found(self) -> str:
        """Names of the columns for a message."""
        more = f", and {len(self.columns) - _LISTED} more" if len(self.columns) > _LISTED else ""
        return (", ".join(self.columns[:_LISTED]) or "none") + more

    def require(self, columns: Sequence[str], reason: str) -> None:
        """Refuse a table without a column that is needed.

        Args:
            columns: names of the columns.
            reason: a sentence for the message: what needs them.

        Raises:
            UserError: a column is missing.
        """
        for name in columns:
            if name not in self.columns:
                raise UserError(f"'{self.path}' has no column '{name}' (found: {self.found}). {reason}")


def read_csv(path: Path, *, lower_case: bool = False) -> CsvTable:
    """Read a table in UTF-8 whose values are separated by commas, semicolons or tabs, with a header.

    Args:
        path: the file.
        lower_case: whether the names of the columns are read in lower case.

    Raises:
        UserError: the file cannot be read as such a table, a column's name stands twice, or a row has more or fewer
            values than the header.
    """
    content = _content(path)
    if b"\0" in content:
        raise UserError(f"'{path}' is not a text table in UTF-8: it holds the character NUL; save it as CSV in UTF-8")
    if not content.strip():
        return CsvTable(path, (), ())
    header, *rows = _cells(path, content)
    names = [name.lower() if lower_case else name for name in header]
    _check_names(path, names)
    # Spreadsheets leave trailing columns without a name, and pandas an index.
    kept = [(index, name) for index, name in enumerate(names) if name]
    return CsvTable(
        path=path,
        columns=tuple(name for _, name in kept),
        rows=tuple({name: row[index] for index, name in kept} for row in rows if any(row)),
    )


def _content(path: Path) -> bytes:
    try:
        status = path.stat()
        # A pipe or a device might never end.
        if not stat.S_ISREG(status.st_mode):
            raise UserError(f"the table '{path}' is no regular file")
        if status.st_size > _MOST_BYTES:
            raise UserError(f"the table '{path}' has {status.st_size} bytes; at most {_MOST_BYTES} are read")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"the table '{path}' cannot be read: {error.strerror}") from error


def _cells(path: Path, content: bytes) -> list[tuple[str, ...]]:
    """Return the header and the rows, every value without its margins."""
    first_line = content.partition(b"\n")[0].decode("utf-8", errors="replace")
    separator = max(_SEPARATORS, key=first_line.count)
    ragged: list[pa_csv.InvalidRow] = []

    def note(row: pa_csv.InvalidRow) -> str:
        # An empty line is no row; Arrow would leave it out by itself, but then its row numbers are no line numbers.
        if row.text.strip():
            ragged.append(row)
        return "skip"

    # Names are generated, so that Arrow takes the header as a row: it would not tell of a name that stands twice.
    width = first_line.count(separator) + 1
    if width > _MOST_COLUMNS:
        raise UserError(f"'{path}' has {width} columns; at most {_MOST_COLUMNS} are read")
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(content),
            # One block, without threads: only then Arrow counts rows, and a long row cannot straddle two blocks.
            read_options=pa_csv.ReadOptions(
                use_threads=False, autogenerate_column_names=True, block_size=min(len(content) + 1, 2**31 - 1)
            ),
            parse_options=pa_csv.ParseOptions(
                delimiter=separator, newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=note
            ),
            # Text alone: "01" is an id, and "NA" is for the task to judge.
            convert_options=pa_csv.ConvertOptions(
                column_types={f"f{index}": pa.string() for index in range(width)}, strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        raise UserError(f"'{path}' is not a text table in UTF-8: {error}") from error
    if ragged:
        raise UserError(f"'{path}', {_told(ragged[0])}; quote values that contain {separator!r}")
    return list(zip(*([value.strip() for value in values.to_pylist()] for values in table.columns), strict=True))


def _told(row: pa_csv.InvalidRow) -> str:
    values = f"{row.actual_columns} value{'' if row.actual_columns == 1 else 's'}"
    return f"line {row.number}: {values}, but the header has {row.expected_columns} (found: {row.text[:_SHOWN]!r})"


def _check_names(path: Path, names: Sequence[str]) -> None:
    first: dict[str, int] = {}
    for index, name in enumerate(names, start=1):
        if name and first.setdefault(name, index) != index:
            raise UserError(
                f"'{path}' has the column '{name}' twice (columns {first[name]} and {index}). Which of them counts "
                "cannot be known: rename or remove one"
            )


def is_mark(text: str) -> bool:
    """Return whether a value is that of a one-hot column: 0 or 1."""
    return text in _TRUE or text in _FALSE


def marked(row: Mapping[str, str], columns: Sequence[str]) -> tuple[str, ...]:
    """Return the one-hot columns that are 1 in a row."""
    return tuple(name for name in columns if row[name] in _TRUE)
