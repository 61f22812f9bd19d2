"""Test split of a dataset artifact: its digest, and the split written as a folder that an audit takes."""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dermrobust.attacks.errors import UserError
from dermrobust.components import raw_dataset
from dermrobust.components.artifacts import Artifact
from dermrobust.components.examples import Split
from dermrobust.models.task import Task, column
from dermrobust.pipeline.outcomes import RunResult
from dermrobust.pipeline.zoo.catalog import read_card
from dermrobust.pipeline.zoo.split_digest import combined_digest

IMAGES, LABELS = "images", "labels.csv"
"""Folder of images and table of labels that `write_split` writes."""
_SUFFIXES = {b"\xff\xd8": ".jpg", b"\x89P": ".png", b"BM": ".bmp", b"GI": ".gif"}
"""Suffix of a file by its first two bytes."""


def dataset_digest(dataset: Artifact) -> tuple[str, int]:
    """Return the digest of the test split of a dataset artifact, and its number of images."""
    found = {record["image"]["id"].decode(): _sha256(record) for record in _test_records(dataset)}
    return combined_digest(found.items()), len(found)


def write_split(dataset: Artifact, folder: Path) -> tuple[Path, Path]:
    """Write the test split of a dataset artifact as `--data` and `--labels` of an audit take it.

    Args:
        dataset: the artifact.
        folder: folder to write to; created if it does not exist.

    Returns:
        The folder of images, which are the original files, and the table of labels.
    """
    task = raw_dataset.task(dataset)
    images, labels = folder / IMAGES, folder / LABELS
    images.mkdir(parents=True, exist_ok=True)
    with labels.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("image_id", task.class_key, *task.optional_columns))
        for record in _test_records(dataset):
            name, content = record["image"]["id"].decode(), record["image"]["encoded"]
            (images / f"{name}{_SUFFIXES.get(content[:2], '.jpg')}").write_bytes(content)
            table.writerow((name, record[task.class_key].decode(), *_metadata(record, task)))
    return images, labels


def write_verified_split(folder: Path, ingested: RunResult, output: Path) -> tuple[Path, Path]:
    """Write the split that a model never saw, after a run that ingested its data set; see `write_split`.

    Raises:
        UserError: the images are not those of the model's card.
    """
    card, dataset = read_card(folder), ingested.output("ingest", "dataset")
    assert dataset is not None
    digest, count = dataset_digest(dataset)
    if digest != card.split.sha256:
        raise UserError(
            f"these raw files give a test split of {count} images with digest {digest}; the card of {card.full_name} "
            f"has {card.split.images} with {card.split.sha256}. Is it the same release of {card.split.dataset}?"
        )
    return write_split(dataset, output)


def _test_records(dataset: Artifact) -> Iterator[dict[str, Any]]:
    source = raw_dataset.folder(dataset)
    for index in range(len(raw_dataset.shard_counts(source)[Split.TEST])):
        yield from raw_dataset.read_shard(source, Split.TEST, index).as_numpy_iterator()


def _metadata(record: dict[str, Any], task: Task) -> Iterable[str]:
    features = {column(name): name for name in task.record_features}
    for name in task.optional_columns:
        value: Any = record
        for key in features[name].split("/"):
            value = value[key]
        if isinstance(value, bytes):
            yield value.decode()
        else:
            yield "" if math.isnan(value) else f"{value:g}"


def _sha256(record: dict[str, Any]) -> str:
    return hashlib.sha256(record["image"]["encoded"]).hexdigest()
