"""ISIC 2019 as the challenge published it: parameters and files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from dermrobust.attacks.errors import UserError
from dermrobust.components.ingest.source import Source
from dermrobust.models.task import Task
from dermrobust.models.tasks.isic2019 import TASK

_LABELS, _METADATA, _IMAGES = (
    "ISIC_2019_Training_GroundTruth.csv",
    "ISIC_2019_Training_Metadata.csv",
    "ISIC_2019_Training_Input",
)
EXPECTED = f"""\
    <path>/
        {_LABELS}
        {_METADATA}
        {_IMAGES}.zip        (or a folder of that name, unpacked)
The data set is published at https://challenge.isic-archive.com/data/#2019 under CC BY-NC 4.0."""


class Isic2019Source(Source):
    """ISIC 2019: 25,331 dermatoscopic images in eight classes."""

    builder = "dermrobust.components.ingest.datasets.isic2019.builder:Isic2019"

    dataset: Literal["isic2019"] = Field("isic2019", description="Name of the data set.")
    images: str | None = Field(
        None,
        description="Folder or zip archive of the images, relative to ingest.path, such as a copy with smaller images; "
        f"default: {_IMAGES}, or {_IMAGES}.zip.",
    )

    @property
    def resolved_task(self) -> Task:
        """See `Source.resolved_task`."""
        return TASK

    def files(self, folder: Path) -> Sequence[Path]:
        """See `Source.files`."""
        release = find_files(folder, self)
        return [release.labels, release.metadata, release.images]


@dataclass(frozen=True)
class Release:
    """Files of the release.

    Attributes:
        labels: table with a column of 0 and 1 for each class.
        metadata: table of age, sex, anatomic site and lesion.
        images: folder or archive of the images.
    """

    labels: Path
    metadata: Path
    images: Path


def find_files(folder: Path, source: Isic2019Source) -> Release:
    """Return the files of the release.

    Raises:
        UserError: something is missing; the message shows the expected tree.
    """
    if not folder.is_dir():
        raise UserError(f"ingest: '{folder}' is not a folder. ISIC 2019 is expected as\n{EXPECTED}")
    places = (_IMAGES, f"{_IMAGES}.zip") if source.images is None else (source.images,)
    images = next((folder / name for name in places if (folder / name).exists()), None)
    missing = [name for name in (_LABELS, _METADATA) if not (folder / name).is_file()]
    if images is None:
        missing.append(places[0])
    if images is None or missing:
        raise UserError(f"ingest: '{folder}' has no {' and no '.join(missing)}. ISIC 2019 is expected as\n{EXPECTED}")
    return Release(folder / _LABELS, folder / _METADATA, images)
