"""Images in a folder, and the rows of a table that belong to them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from dermrobust.attacks.errors import UserError
from dermrobust.components.audit.labels import Labels, some
from dermrobust.components.image_record import IMAGE_SUFFIXES, ImageRecord


def image_files(folder: Path) -> dict[str, Path]:
    """Return the image files below a folder by their name without suffix.

    Raises:
        UserError: it is no folder, holds no images, or two of one name.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder of images '{folder}'")
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        # macOS keeps "._name.jpg" beside a file on other file systems.
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("."):
            if path.stem in found:
                raise UserError(f"two images are called '{path.stem}': '{found[path.stem]}', '{path}'; rename one")
            found[path.stem] = path
    if not found:
        raise UserError(f"the folder '{folder}' holds no images ({', '.join(IMAGE_SUFFIXES)})")
    return found


def matched(labels: Labels, files: Mapping[str, Path], class_names: Sequence[str]) -> list[ImageRecord]:
    """Return the rows in an order that is random, but the same for the same images.

    Raises:
        UserError: rows without an image, images without a row, or a class that is none of the model's.
    """
    ids = {record.image_id for record in labels.rows}
    problems = []
    if lost := sorted(ids - set(files)):
        problems.append(f"{some(lost)} in the table without a file in the folder: leave the rows out, or add files")
    if unlabelled := sorted(set(files) - ids):
        problems.append(f"{some(unlabelled)} in the folder without a label: add rows, or move the files away")
    if problems:
        raise UserError(f"images and labels do not match: {'; '.join(problems)}")
    if strange := sorted({record.class_name for record in labels.rows} - set(class_names)):
        raise UserError(
            f"the labels name classes that the model does not have: {', '.join(strange)} (its classes: "
            f"{', '.join(class_names)}). Name the model's classes in the order of its outputs: --classes"
        )
    # By a hash of the name: tables are often sorted by class, and a limit must draw from all of them.
    return sorted(labels.rows, key=lambda record: hashlib.sha256(record.image_id.encode()).digest())
