"""Records of a data set whose metadata are rows of a table and whose images are files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dermrobust.components.image_record import ImageRecord
from dermrobust.components.image_validation import Reason
from dermrobust.components.ingest.datasets.builder import Listing
from dermrobust.components.ingest.file_images import FileImages
from dermrobust.components.ingest.quarantine import QuarantinedRecord
from dermrobust.models.task import Task

IMAGE_ID = "image_id"
"""Key of a row's image name."""


def listing_of(rows: Iterable[Mapping[str, str]], task: Task, locators: Mapping[str, str]) -> Listing:
    """Return records for metadata rows; a row without an id, or with a number that is none, is rejected.

    Args:
        rows: with `image_id`, the task's class key, and those of its `optional_columns` that the data set has.
        task: the classification problem.
        locators: where each image is, by image id.
    """
    records, rejected = [], []
    # The header is the first row of a table.
    for number, row in enumerate(rows, start=2):
        image_id = row[IMAGE_ID] or f"row {number}"
        try:
            if not row[IMAGE_ID]:
                raise ValueError(f"row {number} has no image id")
            metadata = task.parse_metadata(row)
        except ValueError as error:
            rejected.append(QuarantinedRecord(image_id, Reason.INVALID_METADATA, str(error)))
            continue
        records.append(
            ImageRecord(
                image_id=image_id,
                class_name=row[task.class_key].lower(),
                group=task.parse_group(row),
                metadata=metadata,
                locator=locators.get(image_id, ""),
            )
        )
    return Listing(records, rejected, FileImages())
