"""Reading a data set's metadata: a CSV or tab-separated table with named columns."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path

from dermrobust.attacks.errors import UserError

_MISSING = {"", "na", "n/a", "nan", "none", "null", "unknown"}
_SEXES = {"m": "male", "male": "male", "f": "female", "female": "female"}
_MAX_AGE = 130.0


def read_rows(path: Path, columns: Mapping[str, str], required: tuple[str, ...], dataset: str) -> list[dict[str, str]]:
    """Return the rows of a table under the project's own column names.

    Args:
        path: a table with a header, separated by tabs, semicolons or commas.
        columns: own name -> name in the file; columns of the file that are not named are left out.
        required: own names that the file must have.
        dataset: for messages.

    Raises:
        UserError: the file cannot be read as text, or a required column is missing.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header = file.readline()
            file.seek(0)
            delimiter = next((mark for mark in "\t;" if mark in header), ",")
            reader = csv.DictReader(file, delimiter=delimiter)
            found = [name.strip() for name in reader.fieldnames or []]
            reader.fieldnames = found
            for name in required:
                if columns[name] not in found:
                    raise UserError(
                        f"ingest: '{path.name}' has no column '{columns[name]}' (found: {', '.join(found) or 'none'}). "
                        f"{dataset} needs it as '{name}'."
                    )
            return [
                {own: (row.get(theirs) or "").strip() for own, theirs in columns.items()}
                for row in reader
                if any(row.values())
            ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"ingest: '{path}' is not a text table in UTF-8: {error}") from error


def parse_age(text: str) -> float:
    """Return an age in years; NaN when it is not given.

    Raises:
        ValueError: it is no number between 0 and 130.
    """
    if text.lower() in _MISSING:
        return math.nan
    age = float(text)
    if not 0.0 <= age <= _MAX_AGE:
        raise ValueError(f"age '{text}' is not between 0 and {_MAX_AGE:g} years")
    return age


def parse_sex(text: str) -> str:
    """Return 'male', 'female' or 'unknown'."""
    return _SEXES.get(text.lower(), "unknown")


def parse_text(text: str) -> str:
    """Return a text, or 'unknown' when it is not given."""
    return "unknown" if text.lower() in _MISSING else text
