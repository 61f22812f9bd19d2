"""How a user's own images and their table are named."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dermrobust.attacks.errors import UserError
from dermrobust.models.lesions import HAM10000_CLASSES


class Columns(BaseModel):
    """The names that the table's columns have."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_id: str = Field("image_id", description="File name of the image, with or without its suffix.")
    dx: str = Field("dx", description="Class of the lesion.")
    lesion_id: str | None = Field("lesion_id", description="Lesion that the image shows; null: every image its own.")
    age: str | None = Field("age", description="In years; null: not given.")
    sex: str | None = Field("sex", description="male or female (m, f); null: not given.")
    localization: str | None = Field("localization", description="Where on the body; null: not given.")


class FolderSource(BaseModel):
    """How a folder of images and its table are read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    metadata: str = Field("metadata.csv", description="The table, relative to ingest.path.")
    images: str = Field(".", description="Folder or zip archive of the images, relative to ingest.path.")
    columns: Columns = Field(default_factory=Columns, description="Names of the table's columns.")
    classes: tuple[str, ...] = Field(
        HAM10000_CLASSES, min_length=2, description="Classes, in the order of their labels."
    )

    @model_validator(mode="after")
    def _classes_differ(self) -> FolderSource:
        if len({name.lower() for name in self.classes}) < len(self.classes):
            raise ValueError("classes must differ (case does not count)")
        return self


def find_files(folder: Path, source: FolderSource) -> tuple[Path, Path]:
    """Return the table and the place of the images.

    Raises:
        UserError: one of them is not there.
    """
    table, images = folder / source.metadata, folder / source.images
    if not table.is_file():
        raise UserError(
            f"ingest: there is no table '{table}'. Put a CSV with the columns image_id and dx (lesion_id, age, sex and "
            "localization may be there too) at ingest.path, or name it in ingest.folder.metadata."
        )
    if not images.exists():
        raise UserError(f"ingest: there are no images at '{images}'; name their folder in ingest.folder.images.")
    return table, images
