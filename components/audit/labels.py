"""Labels of images in a user's table: a class name in each row, or a column for each class as ISIC publishes them."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dermrobust.attacks.errors import UserError
from dermrobust.models.lesions import HAM10000_CLASSES

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif")
OPTIONAL = ("lesion_id", "age", "sex", "localization")
_IDS = ("image_id", "image", "filename", "file", "image_name")
_CLASSES = ("dx", "label", "diagnosis", "class")
_UNKNOWN = "unknown"
_MISSING = ("", "na", "n/a", "nan", "none", "null", _UNKNOWN)
_SEXES = {"m": "male", "male": "male", "f": "female", "female": "female"}
_OLDEST = 130.0
_NAMED = 3
"""Examples that a message gives."""


@dataclass(frozen=True)
class LabelledImage:
    """A row of the table.

    Attributes:
        image_id: file name without its suffix.
        dx: class in lower case.
        lesion_id: empty where it is not given.
        age: in years; NaN where it is not given.
        sex: male, female or unknown.
        localization: where on the body, or unknown.
    """

    image_id: str
    dx: str
    lesion_id: str = ""
    age: float = math.nan
    sex: str = _UNKNOWN
    localization: str = _UNKNOWN


@dataclass(frozen=True)
class Labels:
    """A table.

    Attributes:
        rows: one for each image.
        class_names: that the table knows, in the project's order or else sorted.
        missing: optional columns that it does not have.
    """

    rows: tuple[LabelledImage, ...]
    class_names: tuple[str, ...]
    missing: tuple[str, ...]


def read_labels(path: Path) -> Labels:
    """Read a table separated by commas, semicolons or tabs; columns that are not known are ignored.

    Raises:
        UserError: it cannot be read, has no column of image names or classes, names an image twice, or all its images
            are of one class.
    """
    columns, rows = _table(path)
    id_column = _first_of(_IDS, columns)
    if id_column is None:
        raise UserError(
            f"'{path}' has no column image_id (nor {', '.join(_IDS[1:])}); found: {', '.join(columns) or 'none'}"
        )
    class_column = _first_of(_CLASSES, columns)
    if class_column is not None:
        classes = [row[class_column].lower() for row in rows]
        known: Iterable[str] = classes
    else:
        known = _class_columns(path, columns, rows, id_column)
        classes = [_marked_class(path, row, known, row[id_column]) for row in rows]
    if unlabelled := [row[id_column] for row, dx in zip(rows, classes, strict=True) if not dx]:
        raise UserError(f"'{path}': {some(unlabelled)} without a class; name it or leave the row out")
    labelled = tuple(_row(path, row, id_column, dx) for row, dx in zip(rows, classes, strict=True))
    _check_rows(path, labelled)
    missing = tuple(name for name in OPTIONAL if name not in columns)
    return Labels(labelled, in_order(known), missing)


def _table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Return the names of the columns in lower case, and the rows."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header = file.readline()
            file.seek(0)
            reader = csv.DictReader(file, delimiter=next((mark for mark in "\t;" if mark in header), ","))
            reader.fieldnames = columns = [name.strip().lower() for name in reader.fieldnames or []]
            rows = [{name: (row.get(name) or "").strip() for name in columns} for row in reader if any(row.values())]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"'{path}' is not a text table in UTF-8: {error}") from error
    except OSError as error:
        raise UserError(f"the labels '{path}' cannot be read: {error.strerror}") from error
    if not rows:
        raise UserError(f"'{path}' has no rows: it needs the columns image_id and dx, and a row for each image")
    return columns, rows


def _first_of(names: Sequence[str], columns: Sequence[str]) -> str | None:
    return next((name for name in names if name in columns), None)


def _class_columns(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, str]], id_column: str) -> list[str]:
    """Return the columns that hold 0 or 1 in every row; one for what is unknown counts only where it is used."""
    marks = [name for name in columns if name not in (id_column, *OPTIONAL, "")]
    found = [name for name in marks if all(row[name] in ("0", "1", "0.0", "1.0") for row in rows)]
    found = [name for name in found if name != "unk" or any(float(row[name]) for row in rows)]
    if len(found) < 2:
        raise UserError(
            f"'{path}' has no column dx (nor {', '.join(_CLASSES[1:])}), nor a column of 0 and 1 for each class; "
            f"found: {', '.join(columns)}"
        )
    return found


def _marked_class(path: Path, row: Mapping[str, str], class_names: Iterable[str], image_id: str) -> str:
    marked = [name for name in class_names if float(row[name]) == 1.0]
    if len(marked) != 1:
        found = " and ".join(marked) or "no class"
        raise UserError(f"'{path}': image '{image_id}' is marked as {found}; one class is needed")
    return marked[0]


def _row(path: Path, row: Mapping[str, str], id_column: str, dx: str) -> LabelledImage:
    values = {name: "" if row.get(name, "").lower() in _MISSING else row[name] for name in OPTIONAL}
    name = row[id_column]
    try:
        age = float(values["age"]) if values["age"] else math.nan
    except ValueError:
        age = math.inf
    if age < 0 or age > _OLDEST:
        raise UserError(f"'{path}': the age of image '{name}' is '{values['age']}', not 0 to {_OLDEST:g} years")
    return LabelledImage(
        image_id=Path(name).stem if Path(name).suffix.lower() in IMAGE_SUFFIXES else Path(name).name,
        dx=dx,
        lesion_id=values["lesion_id"],
        age=age,
        sex=_SEXES.get(values["sex"].lower(), _UNKNOWN),
        localization=values["localization"] or _UNKNOWN,
    )


def _check_rows(path: Path, rows: Sequence[LabelledImage]) -> None:
    counts = Counter(row.image_id for row in rows)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise UserError(f"'{path}' names {some(twice)} more than once; keep one row for each image")
    if len({row.dx for row in rows}) == 1:
        raise UserError(
            f"'{path}': all {len(rows)} images are of the class '{rows[0].dx}'. Accuracy on one class says nothing "
            "about a classifier: add images of the others"
        )


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return class names once each: HAM10000's seven in the project's order, others sorted (numbers as numbers)."""
    distinct = set(names)
    if distinct == set(HAM10000_CLASSES):
        return HAM10000_CLASSES
    return tuple(sorted(distinct, key=lambda name: (0, int(name), name) if name.isdecimal() else (1, 0, name)))


def some(names: Sequence[str]) -> str:
    """Say how many images there are, and name a few."""
    shown = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
    return f"{len(names)} image{'s' if len(names) > 1 else ''} ({shown})"
