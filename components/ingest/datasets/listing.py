"""From rows of a metadata table to records with their images."""

from __future__ import annotations

from dermrobust.components.ingest import metadata_table
from dermrobust.components.ingest.datasets.builder import Listing
from dermrobust.components.ingest.file_images import FileImages
from dermrobust.components.ingest.quarantine import QuarantinedRecord
from dermrobust.components.ingest.records import LesionRecord
from dermrobust.components.ingest.validation import Reason


def listing_of(rows: list[dict[str, str]], locators: dict[str, str]) -> Listing:
    """Return records for metadata rows; a row whose age is no age is rejected.

    Args:
        rows: with image_id, lesion_id, dx, age, sex, localization.
        locators: where each image is, by image id.
    """
    records, rejected = [], []
    for number, row in enumerate(rows, start=2):
        image_id = row["image_id"] or f"row {number}"
        try:
            if not row["image_id"]:
                raise ValueError(f"row {number} has no image id")
            age = metadata_table.parse_age(row["age"])
        except ValueError as error:
            rejected.append(QuarantinedRecord(image_id, Reason.INVALID_METADATA, str(error)))
            continue
        records.append(
            LesionRecord(
                image_id=image_id,
                lesion_id=row["lesion_id"],
                dx=row["dx"].lower(),
                age=age,
                sex=metadata_table.parse_sex(row["sex"]),
                localization=metadata_table.parse_text(row["localization"]),
                locator=locators.get(image_id, ""),
            )
        )
    return Listing(records, rejected, FileImages())
