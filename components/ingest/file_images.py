"""Reader of images that lie in files."""

from __future__ import annotations

from dataclasses import dataclass

from dermrobust.components.image_record import ImageRecord
from dermrobust.components.ingest.image_sources import read_image
from dermrobust.components.ingest.shard_generator import ImageReader


@dataclass(frozen=True)
class FileImages(ImageReader):
    """Reads the file that a record's locator names."""

    def read(self, record: ImageRecord) -> bytes:
        """See `ImageReader.read`."""
        return read_image(record.locator)
