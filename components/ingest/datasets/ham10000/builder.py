"""HAM10000 as its authors published it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dermrobust.attacks.errors import UserError
from dermrobust.components.ingest import metadata_table
from dermrobust.components.ingest.datasets.builder import LesionBuilder, Listing
from dermrobust.components.ingest.datasets.ham10000.release import EXPECTED, find_files
from dermrobust.components.ingest.datasets.listing import listing_of
from dermrobust.components.ingest.image_sources import index_images
from dermrobust.models.lesions import HAM10000_CLASSES

_COLUMNS = ("lesion_id", "image_id", "dx", "age", "sex", "localization")
_REQUIRED = ("lesion_id", "image_id", "dx")


class Ham10000(LesionBuilder):
    """10,015 dermatoscopic images of 7,470 lesions in seven classes."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = f"HAM10000 is expected as\n{EXPECTED}"

    def class_names(self) -> tuple[str, ...]:
        """See `LesionBuilder.class_names`."""
        return HAM10000_CLASSES

    def description(self) -> str:
        """See `LesionBuilder.description`."""
        return (
            "HAM10000 (Tschandl, Rosendahl, Kittler 2018, doi:10.1038/sdata.2018.161; "
            "data doi:10.7910/DVN/DBW86T, CC BY-NC 4.0): dermatoscopic images of pigmented skin lesions."
        )

    def listing(self, source: Any) -> Listing:
        """See `LesionBuilder.listing`."""
        metadata, places = find_files(Path(source))
        images = index_images(places, (".jpg", ".jpeg"))
        if not images:
            raise UserError(
                f"ingest: there is no .jpg in {', '.join(path.name for path in places)}; expected\n{EXPECTED}"
            )
        rows = metadata_table.read_rows(metadata, {name: name for name in _COLUMNS}, _REQUIRED, "HAM10000")
        return listing_of(rows, {Path(name).stem: locator for name, locator in images.items()})
