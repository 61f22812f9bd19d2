"""Reader of labels: a class name in each row, or a column of 0 and 1 for each class as ISIC publishes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dermrobust.attacks.errors import UserError
from dermrobust.components.csv_table import CsvTable, is_mark, marked, read_csv
from dermrobust.components.image_record import IMAGE_SUFFIXES, ImageRecord
from dermrobust.models.task import Task, given
from dermrobust.models.tasks.ham10000 import TASK

_IDS = ("image_id", "image", "filename", "file", "image_name")
_CLASSES = (TASK.class_key, "label", "diagnosis", "class")
_UNKNOWN_CLASS = "unk"
"""Column of ISIC's tables for images of no class; most tables mark none."""
_NAMED = 3
"""Examples that a message gives."""


@dataclass(frozen=True)
class Labels:
    """Labels of images.

    Attributes:
        rows: one for each image.
        class_names: classes of the table, in the order of HAM10000 if they are its classes, else sorted.
        missing: optional columns of the task that the table does not have.
    """

    rows: tuple[ImageRecord, ...]
    class_names: tuple[str, ...]
    missing: tuple[str, ...]


def read_labels(path: Path, task: Task = TASK) -> Labels:
    """Read a table separated by commas, semicolons or tabs; columns that are not known are ignored.

    Args:
        path: the table.
        task: the task that names the optional columns; its classes do not matter here.

    Raises:
        UserError: it cannot be read, has no column of image names or classes, names an image twice, or all its images
            are of one class.
    """
    table = read_csv(path, lower_case=True)
    if not table.rows:
        raise UserError(f"'{path}' has no rows: it needs the columns {_IDS[0]} and {_CLASSES[0]}, and a row an image")
    id_column = _first_of(_IDS, table.columns)
    if id_column is None:
        raise UserError(f"'{path}' has no column {_IDS[0]} (nor {', '.join(_IDS[1:])}); found: {table.found}")
    class_column = _first_of(_CLASSES, table.columns)
    if class_column is not None:
        # What stands for a missing value in a data set does so here: "NaN" is no class.
        classes = [given(row[class_column]).lower() for row in table.rows]
        known: Iterable[str] = classes
    else:
        known = _class_columns(table, (id_column, *task.optional_columns))
        classes = [_marked_class(path, row, known, row[id_column]) for row in table.rows]
    labelled = list(zip(table.rows, classes, strict=True))
    if unlabelled := [row[id_column] for row, name in labelled if not name]:
        raise UserError(f"'{path}': {some(unlabelled)} without a class; name it or leave the row out")
    records = tuple(_record(path, row, row[id_column], name, task) for row, name in labelled)
    _check_records(path, records)
    missing = tuple(name for name in task.optional_columns if name not in table.columns)
    return Labels(records, in_order(known), missing)


def _first_of(names: Sequence[str], columns: Sequence[str]) -> str | None:
    return next((name for name in names if name in columns), None)


def _class_columns(table: CsvTable, others: Sequence[str]) -> list[str]:
    """Return the columns that hold 0 or 1 in every row; one for what is unknown counts only where it is used."""
    columns = [name for name in table.columns if name not in others]
    found = [name for name in columns if all(is_mark(row[name]) for row in table.rows)]
    found = [name for name in found if name != _UNKNOWN_CLASS or any(marked(row, (name,)) for row in table.rows)]
    if len(found) < 2:
        raise UserError(
            f"'{table.path}' has no column {_CLASSES[0]} (nor {', '.join(_CLASSES[1:])}), nor a column of 0 and 1 for "
            f"each class; found: {table.found}"
        )
    return found


def _marked_class(path: Path, row: Mapping[str, str], class_names: Iterable[str], image_id: str) -> str:
    found = marked(row, tuple(class_names))
    if len(found) != 1:
        raise UserError(
            f"'{path}': image '{image_id}' is marked as {' and '.join(found) or 'no class'}; one class is needed"
        )
    return found[0]


def _record(path: Path, row: Mapping[str, str], name: str, class_name: str, task: Task) -> ImageRecord:
    try:
        metadata = task.parse_metadata(row)
    except ValueError as error:
        raise UserError(f"'{path}', image '{name}': {error}") from error
    # A name may hold dots that are no suffix of an image file.
    image_id = Path(name).stem if Path(name).suffix.lower() in IMAGE_SUFFIXES else Path(name).name
    return ImageRecord(image_id=image_id, class_name=class_name, group=task.parse_group(row), metadata=metadata)


def _check_records(path: Path, records: Sequence[ImageRecord]) -> None:
    counts = Counter(record.image_id for record in records)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise UserError(f"'{path}' names {some(twice)} more than once; keep one row for each image")
    if len({record.class_name for record in records}) == 1:
        raise UserError(
            f"'{path}': all {len(records)} images are of the class '{records[0].class_name}'. Accuracy on one class "
            "says nothing about a classifier: add images of the others"
        )


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return class names once each: those of HAM10000 in its order, others sorted (numbers as numbers)."""
    distinct = set(names)
    if distinct == set(TASK.class_names):
        return TASK.class_names
    return tuple(sorted(distinct, key=lambda name: (0, int(name), name) if name.isdecimal() else (1, 0, name)))


def some(names: Sequence[str]) -> str:
    """Return how many images there are, with a few of their names, for a message."""
    shown = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
    return f"{len(names)} image{'s' if len(names) > 1 else ''} ({shown})"
