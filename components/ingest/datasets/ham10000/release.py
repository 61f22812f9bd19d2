"""The files of HAM10000's official release."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dermrobust.attacks.errors import UserError

EXPECTED = """\
    <path>/
        HAM10000_metadata.csv           (or .tab, as the repository gives it)
        HAM10000_images_part_1.zip      (or a folder of that name, unpacked)
        HAM10000_images_part_2.zip      (or a folder of that name, unpacked)
The data set is published at doi:10.7910/DVN/DBW86T under CC BY-NC 4.0."""

_METADATA = ("HAM10000_metadata.csv", "HAM10000_metadata.tab", "HAM10000_metadata.tsv", "HAM10000_metadata")


def find_files(folder: Path) -> tuple[Path, list[Path]]:
    """Return the metadata and the image archives or folders of the official release.

    Raises:
        UserError: something is missing; it shows the expected tree.
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
        if unpacked.is_dir():
            yield unpacked
        elif archive.is_file():
            yield archive
