"""TFDS builder of ISIC 2019."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from dermrobust.attacks.errors import UserError
from dermrobust.components.csv_table import CsvTable, marked, read_csv
from dermrobust.components.image_validation import Reason
from dermrobust.components.ingest.datasets.builder import ImageBuilder, ImageConfig, Listing
from dermrobust.components.ingest.datasets.isic2019.source import EXPECTED, Isic2019Source, find_files
from dermrobust.components.ingest.datasets.listing import listing_of
from dermrobust.components.ingest.image_sources import index_images
from dermrobust.components.ingest.quarantine import QuarantinedRecord

_IMAGE, _UNKNOWN = "image", "UNK"
_COLUMNS = {"lesion_id": "lesion_id", "age": "age_approx", "sex": "sex", "localization": "anatom_site_general"}
"""Columns of the metadata by the names that the task gives them."""
_DOWNSAMPLED = "_downsampled"
"""Suffix of images that the challenge stored at a smaller size; some copies of the release leave it out."""


class Isic2019(ImageBuilder):
    """25,331 dermatoscopic images in eight classes."""

    BUILDER_CONFIGS = [ImageConfig(name="default", source=Isic2019Source())]
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"ISIC 2019 is expected as\n{EXPECTED}"
    DESCRIPTION = (
        "ISIC 2019 training images (https://challenge.isic-archive.com/data/#2019, CC BY-NC 4.0): dermatoscopic images "
        "of BCN_20000 (Combalia et al. 2019, arXiv 1908.02288), HAM10000 (Tschandl et al. 2018, "
        "doi:10.1038/sdata.2018.161) and the MSK data set (Codella et al. 2018, arXiv 1710.05006)."
    )

    def listing(self, folder: Path | None) -> Listing:
        """See `ImageBuilder.listing`."""
        assert folder is not None
        release = find_files(folder, self.builder_config.source)
        labels, metadata = read_csv(release.labels), read_csv(release.metadata)
        classes = {name.upper(): name for name in self.task.class_names}
        labels.require((_IMAGE, *classes), f"ISIC 2019 is expected as\n{EXPECTED}")
        metadata.require((_IMAGE, *_COLUMNS.values()), f"ISIC 2019 is expected as\n{EXPECTED}")
        images = index_images([release.images], (".jpg", ".jpeg"))
        if not images:
            raise UserError(f"ingest: there is no .jpg in '{release.images}'; expected\n{EXPECTED}")
        rows, rejected = _joined(labels, metadata, (*classes, _UNKNOWN))
        found = listing_of(rows, self.task, _locators((row["image_id"] for row in rows), images))
        return Listing(found.records, [*rejected, *found.rejected], found.reader)


def _joined(
    labels: CsvTable, metadata: CsvTable, classes: Iterable[str]
) -> tuple[list[dict[str, str]], list[QuarantinedRecord]]:
    """Return the rows of the labels with their metadata, and the images whose class or metadata are ambiguous."""
    known = {row[_IMAGE]: row for row in metadata.rows}
    described = Counter(row[_IMAGE] for row in metadata.rows)
    columns = [name for name in classes if name in labels.columns]
    rows, rejected = [], []
    for row in labels.rows:
        image_id, found = row[_IMAGE], marked(row, columns)
        if len(found) != 1:
            detail = f"marked as {' and '.join(found) or 'no class'}; one class is needed"
            rejected.append(QuarantinedRecord(image_id, Reason.INVALID_METADATA, detail))
            continue
        if described[image_id] > 1:
            detail = f"the image stands in {described[image_id]} rows of '{metadata.path.name}'"
            rejected.append(QuarantinedRecord(image_id, Reason.DUPLICATE_ID, detail))
            continue
        # UNK is no class of the task; its images go to quarantine with those of other unknown labels.
        own = known.get(image_id, {})
        details = {key: own.get(name, "") for key, name in _COLUMNS.items()}
        rows.append({"image_id": image_id, "dx": found[0], **details})
    return rows, rejected


def _locators(ids: Iterable[str], images: Mapping[str, str]) -> dict[str, str]:
    """Return where each image is, whether or not the table or the file has the suffix of downsampled images."""
    exact = {Path(name).stem: locator for name, locator in images.items()}
    plain = {name.removesuffix(_DOWNSAMPLED): locator for name, locator in exact.items()}
    return {name: exact.get(name) or plain.get(name.removesuffix(_DOWNSAMPLED), "") for name in ids}
