"""Images that lie in files."""

from __future__ import annotations

from dataclasses import dataclass

from dermrobust.components.ingest.datasets.builder import ImageReader
from dermrobust.components.ingest.image_sources import read_image
from dermrobust.components.ingest.records import LesionRecord


@dataclass(frozen=True)
class FileImages(ImageReader):
    """Reads the file that a record's locator names."""

    def read(self, record: LesionRecord) -> bytes:
        """See `ImageReader.read`."""
        return read_image(record.locator)
