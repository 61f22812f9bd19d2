"""A user's own images with a table of labels."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from dermrobust.components.ingest import metadata_table
from dermrobust.components.ingest.datasets.builder import LesionBuilder, LesionConfig, Listing
from dermrobust.components.ingest.datasets.folder.source import FolderSource, find_files
from dermrobust.components.ingest.datasets.listing import listing_of
from dermrobust.components.ingest.image_sources import index_images

_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif")
_OPTIONAL = ("lesion_id", "age", "sex", "localization")


class Folder(LesionBuilder):
    """Images of a folder or archive, with a table that names their classes."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = "A folder with metadata.csv (image_id, dx, …) and the images that it names."
    BUILDER_CONFIGS = [LesionConfig(name="default", source=FolderSource())]

    @property
    def _source(self) -> FolderSource:
        source: FolderSource = self.builder_config.source
        return source

    def class_names(self) -> tuple[str, ...]:
        """See `LesionBuilder.class_names`."""
        return tuple(name.lower() for name in self._source.classes)

    def description(self) -> str:
        """See `LesionBuilder.description`."""
        return "Images of skin lesions with a table of labels, given by the user."

    def listing(self, source: Any) -> Listing:
        """See `LesionBuilder.listing`."""
        table, images = find_files(Path(source), self._source)
        mapping = {own: theirs for own, theirs in self._source.columns.model_dump().items() if theirs is not None}
        rows = metadata_table.read_rows(table, mapping, ("image_id", "dx"), "The folder data set")
        rows = [{**dict.fromkeys(_OPTIONAL, ""), **row} for row in rows]
        found = index_images([images], _SUFFIXES)
        # The table may name images with or without their suffix.
        stems = {Path(name).stem: locator for name, locator in found.items()}
        return listing_of(rows, dict(itertools.chain(stems.items(), found.items())))
