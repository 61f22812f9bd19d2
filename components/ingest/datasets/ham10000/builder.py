"""TFDS builder of HAM10000."""

from __future__ import annotations

from pathlib import Path

from dermrobust.attacks.errors import UserError
from dermrobust.components.csv_table import read_csv
from dermrobust.components.ingest.datasets.builder import ImageBuilder, ImageConfig, Listing
from dermrobust.components.ingest.datasets.ham10000.source import EXPECTED, Ham10000Source, find_files
from dermrobust.components.ingest.datasets.listing import listing_of
from dermrobust.components.ingest.image_sources import index_images

_REQUIRED = ("lesion_id", "image_id", "dx")


class Ham10000(ImageBuilder):
    """10,015 dermatoscopic images of 7,470 lesions in seven classes."""

    BUILDER_CONFIGS = [ImageConfig(name="default", source=Ham10000Source())]
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"HAM10000 is expected as\n{EXPECTED}"
    DESCRIPTION = (
        "HAM10000 (Tschandl, Rosendahl, Kittler 2018, doi:10.1038/sdata.2018.161; "
        "data doi:10.7910/DVN/DBW86T, CC BY-NC 4.0): dermatoscopic images of pigmented skin lesions."
    )

    def listing(self, folder: Path | None) -> Listing:
        """See `ImageBuilder.listing`."""
        assert folder is not None
        metadata, places = find_files(folder)
        images = index_images(places, (".jpg", ".jpeg"))
        if not images:
            raise UserError(
                f"ingest: there is no .jpg in {', '.join(path.name for path in places)}; expected\n{EXPECTED}"
            )
        table = read_csv(metadata)
        table.require(_REQUIRED, f"HAM10000 is expected as\n{EXPECTED}")
        return listing_of(table.rows, self.task, {Path(name).stem: locator for name, locator in images.items()})
