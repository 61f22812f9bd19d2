"""TFDS builder of a user's own images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dermrobust.components.csv_table import CsvTable, read_csv
from dermrobust.components.image_record import IMAGE_SUFFIXES
from dermrobust.components.ingest.datasets.builder import ImageBuilder, ImageConfig, Listing
from dermrobust.components.ingest.datasets.folder.source import FolderSource, find_files
from dermrobust.components.ingest.datasets.listing import listing_of
from dermrobust.components.ingest.image_sources import index_images


class Folder(ImageBuilder):
    """Images of a folder or archive, with a table that names their classes."""

    BUILDER_CONFIGS = [ImageConfig(name="default", source=FolderSource())]
    MANUAL_DOWNLOAD_INSTRUCTIONS = "A folder with metadata.csv (image_id, class, …) and the images that it names."
    DESCRIPTION = "Images with a table of labels, given by the user."

    def listing(self, folder: Path | None) -> Listing:
        """See `ImageBuilder.listing`."""
        assert folder is not None
        source: FolderSource = self.builder_config.source
        path, images = find_files(folder, source)
        table = read_csv(path)
        needed = [name for key, name in source.column_names.items() if key in source.needed_columns]
        table.require(needed, "Names of columns are given in ingest.dataset.columns (null: not in the table).")
        found = index_images([images], IMAGE_SUFFIXES)
        # The table may name images with or without their suffix.
        stems = {Path(name).stem: locator for name, locator in found.items()}
        return listing_of(_rows(table, source), self.task, stems | found)


def _rows(table: CsvTable, source: FolderSource) -> Iterator[dict[str, str]]:
    """Yield rows by the keys of the columns, whatever their names in the table are."""
    present = {key: name for key, name in source.column_names.items() if name in table.columns}
    for row in table.rows:
        yield {key: row[name] for key, name in present.items()}
