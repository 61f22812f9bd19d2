"""A user's own images with a table of labels: parameters and files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, LiteralString, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from dermrobust.attacks.config_paths import unknown_key
from dermrobust.attacks.errors import UserError
from dermrobust.attacks.plugins import UNKNOWN_KEY
from dermrobust.components.ingest.source import Source
from dermrobust.models.task import ClassName, Task, column
from dermrobust.models.tasks.ham10000 import TASK, lesion_task

IMAGE_ID = "image_id"


class FolderSource(Source):
    """Images of a folder or archive, with a table that names their classes.

    The classification problem is declared whole (`task`), or as skin lesions with other classes (`classes`): age, sex
    and localization are then read and sliced as those of HAM10000 are, and images are grouped by lesion.
    """

    builder = "dermrobust.components.ingest.datasets.folder.builder:Folder"

    dataset: Literal["folder"] = Field("folder", description="Name of the data set.")
    metadata: str = Field("metadata.csv", description="Table of the images, relative to ingest.path.")
    images: str = Field(".", description="Folder or zip archive of the images, relative to ingest.path.")
    columns: dict[str, str | None] = Field(
        {},
        description="Names of the table's columns where they differ, such as "
        '{"image_id": "file", "dx": "diagnosis"}; null: not in the table.',
    )
    classes: tuple[ClassName, ...] | None = Field(
        None, min_length=2, description="Classes of skin lesions, in the order of their labels; default: HAM10000's."
    )
    task: Task | None = Field(None, description="Classification problem, if it is another than skin lesions.")

    @property
    def resolved_task(self) -> Task:
        """See `Source.resolved_task`."""
        return self.task or lesion_task(self.classes or TASK.class_names)

    @property
    def required_columns(self) -> tuple[str, ...]:
        """Keys of the columns that the config cannot leave out."""
        return IMAGE_ID, self.resolved_task.class_key

    @property
    def needed_columns(self) -> tuple[str, ...]:
        """Keys of the columns that a table must have: also those that the config names, and a declared group.

        Without its group, an image would leak into another split than others of its group, unnoticed.
        """
        group = () if self.task is None or self.task.group_key is None else (column(self.task.group_key),)
        return (*self.required_columns, *group, *self.columns)

    @property
    def column_names(self) -> dict[str, str]:
        """Names of the table's columns by their keys: `image_id`, the class key, the group, the slice features."""
        keys = (*self.required_columns, *self.resolved_task.optional_columns)
        named = {key: self.columns.get(key, key) for key in keys}
        return {key: name for key, name in named.items() if name is not None}

    def files(self, folder: Path) -> Sequence[Path]:
        """See `Source.files`."""
        return find_files(folder, self)

    @field_validator("classes")
    @classmethod
    def _classes_differ(cls, classes: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if classes is not None and len(set(classes)) < len(classes):
            raise ValueError("classes must differ (case does not count)")
        return classes

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.task is not None and self.classes is not None:
            raise ValueError("give 'task' or 'classes', not both: a task names its classes")
        allowed = (*self.required_columns, *self.resolved_task.optional_columns)
        problems = [
            *(_problem(key, UNKNOWN_KEY, unknown_key(key, allowed)) for key in self.columns if key not in allowed),
            *(
                _problem(key, "value_error", "every table has this column; name it")
                for key in self.required_columns
                if self.columns.get(key, key) is None
            ),
        ]
        if problems:
            raise ValidationError.from_exception_data(type(self).__name__, problems)
        return self


def _problem(key: str, kind: LiteralString, text: str) -> InitErrorDetails:
    """Return a mistake in the names of the columns, with its own path in the config."""
    return InitErrorDetails(type=PydanticCustomError(kind, "{text}", {"text": text}), loc=("columns", key), input=key)


def find_files(folder: Path, source: FolderSource) -> tuple[Path, Path]:
    """Return the table and the place of the images.

    Raises:
        UserError: one of them is not there.
    """
    table, images = folder / source.metadata, folder / source.images
    if not table.is_file():
        required, optional = source.required_columns, source.resolved_task.optional_columns
        raise UserError(
            f"ingest: there is no table '{table}'. Put a CSV with the columns {' and '.join(required)} "
            f"({', '.join(optional)} may be there too) at ingest.path, or name it in ingest.dataset.metadata."
        )
    if not images.exists():
        raise UserError(f"ingest: there are no images at '{images}'; name their folder in ingest.dataset.images.")
    return table, images
