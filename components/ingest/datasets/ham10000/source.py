"""HAM10000 as its authors published it: parameters and files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from dermrobust.attacks.errors import UserError
from dermrobust.components.ingest.source import Source
from dermrobust.models.task import Task
from dermrobust.models.tasks.ham10000 import TASK

EXPECTED = """\
    <path>/
        HAM10000_metadata.csv           (or .tab, as the repository gives it)
        HAM10000_images_part_1.zip      (or a folder of that name, unpacked)
        HAM10000_images_part_2.zip      (or a folder of that name, unpacked)
The data set is published at doi:10.7910/DVN/DBW86T under CC BY-NC 4.0."""

_METADATA = ("HAM10000_metadata.csv", "HAM10000_metadata.tab", "HAM10000_metadata.tsv", "HAM10000_metadata")


class Ham10000Source(Source):
    """HAM10000: 10,015 dermatoscopic images of 7,470 lesions in seven classes."""

    builder = "dermrobust.components.ingest.datasets.ham10000.builder:Ham10000"

    dataset: Literal["ham10000"] = Field("ham10000", description="Name of the data set.")

    @property
    def resolved_task(self) -> Task:
        """See `Source.resolved_task`."""
        return TASK

    def files(self, folder: Path) -> Sequence[Path]:
        """See `Source.files`."""
        metadata, images = find_files(folder)
        return [metadata, *images]


def find_files(folder: Path) -> tuple[Path, list[Path]]:
    """Return the metadata and the image archives or folders of the official release.

    Raises:
        UserError: something is missing; the message shows the expected tree.
    """
    if not folder.is_dir():
        raise UserError(f"ingest: '{folder}' is not a folder. HAM10000 is expected as\n{EXPECTED}")
    metadata = next((folder / name for name in _METADATA if (folder / name).is_file()), None)
    images = list(_image_places(folder))
    if metadata is None or not images:
        missing = "no HAM10000_metadata.csv or .tab" if metadata is None else "no HAM10000_images_part_1 and _2"
        raise UserError(f"ingest: '{folder}' has {missing}. HAM10000 is expected as\n{EXPECTED}")
    return metadata, images


def _image_places(folder: Path) -> Iterator[Path]:
    for part in sorted({path.name.removesuffix(".zip") for path in folder.glob("HAM10000_images_part_*")}):
        unpacked, archive = folder / part, folder / f"{part}.zip"
        # An archive that has been unpacked beside itself holds the same images a second time.
        if unpacked.is_dir():
            yield unpacked
        elif archive.is_file():
            yield archive
