"""Base of the TFDS builders: records become shards of the three splits, generated on Beam."""

from __future__ import annotations

import abc
import inspect
import itertools
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from dermrobust.components.examples import Split
from dermrobust.components.image_record import ImageRecord
from dermrobust.components.image_validation import Reason
from dermrobust.components.ingest.quarantine import QuarantinedRecord
from dermrobust.components.ingest.shard_generator import ImageReader, ShardGenerator, nested, write_report
from dermrobust.components.ingest.shard_writing import Shard, ShardWriter, write_shards
from dermrobust.components.ingest.source import Source
from dermrobust.components.ingest.splits import SplitFractions, unit_hash
from dermrobust.models.task import IMAGE, LABEL, Task


@dataclass
class ImageConfig(tfds.core.BuilderConfig):
    """Settings of a builder.

    Attributes:
        splits: fractions of the groups in each split.
        report_uri: folder for the counts and the bad records of every shard; None: they are not reported.
        source: the data set with its parameters.
        shard_size: images of a shard, about: 512 as 224-pixel images are 77 MB, which the attacks hold in memory.
    """

    splits: SplitFractions = field(default_factory=lambda: SplitFractions(0.1, 0.2, "dermrobust"))
    report_uri: str | None = None
    source: Source | None = None
    shard_size: int = 512


@dataclass(frozen=True)
class Listing:
    """Records of a data set, from its metadata.

    Attributes:
        records: the usable rows.
        rejected: rows that cannot be used whatever their image is.
        reader: turns a record into its image.
    """

    records: list[ImageRecord]
    rejected: list[QuarantinedRecord]
    reader: ImageReader


class ImageBuilder(tfds.core.ShardBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Base of the builders.

    A shard is generated as a whole by one worker: no shuffle holds images in memory, and the shards are the same
    whatever the number of workers. Records are spread over shards by a hash of their id.

    A subclass has `BUILDER_CONFIGS` with the data set's default source; one that reads `ingest.path` has
    `MANUAL_DOWNLOAD_INSTRUCTIONS`.

    Attributes:
        DESCRIPTION: what the data set is, with its source and license.
    """

    VERSION = tfds.core.Version("1.0.0")
    DESCRIPTION: ClassVar[str]

    def __init_subclass__(cls, **options: Any) -> None:
        """Tell TFDS where a builder's files are: it derives that from the module's name, which `package_dir` breaks."""
        super().__init_subclass__(**options)
        cls.pkg_dir_path = epath.Path(inspect.getfile(cls)).parent

    @abc.abstractmethod
    def listing(self, folder: Path | None) -> Listing:
        """Return the records of the data set.

        Args:
            folder: `ingest.path`; None for a builder without `MANUAL_DOWNLOAD_INSTRUCTIONS`.

        Raises:
            UserError: the files are not there, or their tables cannot be read.
        """

    @property
    def task(self) -> Task:
        """Classification problem of the data set."""
        source: Source = self.builder_config.source
        return source.resolved_task

    def _info(self) -> tfds.core.DatasetInfo:
        features = {IMAGE: tfds.features.Image(shape=(None, None, self.task.channels))}
        for name, kind in self.task.record_features.items():
            features[name] = tfds.features.Scalar(np.float32) if kind is float else tfds.features.Text()
        features[LABEL] = tfds.features.ClassLabel(names=list(self.task.class_names))
        return _Info(builder=self, description=self.DESCRIPTION, features=tfds.features.FeaturesDict(nested(features)))

    def _shard_iterators_per_split(self, dl_manager: tfds.download.DownloadManager) -> dict[str, list[ShardGenerator]]:
        listing = self.listing(Path(dl_manager.manual_dir) if self.MANUAL_DOWNLOAD_INSTRUCTIONS else None)
        config: ImageConfig = self.builder_config
        records, duplicates = _without_duplicates(listing.records)
        if config.report_uri is not None:
            write_report(config.report_uri, "metadata", None, [*listing.rejected, *duplicates])
        by_split: dict[Split, list[ImageRecord]] = {split: [] for split in Split}
        for record in records:
            by_split[config.splits.assign(record)].append(record)
        return {
            split.value: [
                ShardGenerator(shard, self.task, listing.reader, config.report_uri, f"{split.value}-{index:05d}")
                for index, shard in enumerate(_shards(members, config.splits.salt, config.shard_size))
            ]
            for split, members in by_split.items()
        }

    def _download_and_prepare(
        self, dl_manager: tfds.download.DownloadManager, download_config: tfds.download.DownloadConfig | None = None
    ) -> None:
        templates = {}
        shards: list[Shard] = []
        for split, generators in self._shard_iterators_per_split(dl_manager).items():
            templates[split] = template = self._get_filename_template(split_name=split)
            for index, generator in enumerate(generators):
                path = template.sharded_filepath(shard_index=index, num_shards=len(generators))
                shards.append(Shard(split, index, path, generator))
        writer = ShardWriter(self.info.features, self._example_writer())
        config = download_config or tfds.download.DownloadConfig()
        lengths = write_shards(shards, writer, self.data_path, config)
        sizes = {split: sum(shard.path.stat().length for shard in shards if shard.split == split) for split in lengths}
        infos = [
            tfds.core.SplitInfo(
                name=split, shard_lengths=lengths[split], num_bytes=sizes[split], filename_template=template
            )
            for split, template in templates.items()
        ]
        self.info.set_splits(tfds.core.SplitDict(infos))


class _Info(tfds.core.DatasetInfo):
    """Description of a data set that nobody has published."""

    def initialize_from_bucket(self) -> None:
        """Do nothing: TFDS asks for published descriptions, and leaves a temporary folder even where it may not ask."""


def _without_duplicates(records: list[ImageRecord]) -> tuple[list[ImageRecord], list[QuarantinedRecord]]:
    """Set aside every record whose id or image occurs more than once: which of them is right is unknown.

    An id may be given with and without the suffix of its file, so the same image can stand under two ids; it would leak
    from one split into another.
    """
    ids = Counter(record.image_id for record in records)
    images = Counter(record.locator for record in records if record.locator)
    kept, duplicates = [], []
    for record in records:
        if ids[record.image_id] > 1:
            detail = f"the id stands in {ids[record.image_id]} rows"
        elif images[record.locator] > 1:
            detail = f"its image stands in {images[record.locator]} rows"
        else:
            kept.append(record)
            continue
        duplicates.append(QuarantinedRecord(record.image_id, Reason.DUPLICATE_ID, detail))
    return kept, duplicates


def _shards(records: list[ImageRecord], salt: str, size: int) -> list[tuple[ImageRecord, ...]]:
    """Return records in hash order, in shards of about equal size; at least one shard."""
    # The id breaks ties, so that the order does not depend on that of the table.
    ordered = sorted(records, key=lambda record: (unit_hash(f"{salt}/order", record.image_id), record.image_id))
    count = max(1, round(len(ordered) / size))
    bounds = [len(ordered) * index // count for index in range(count + 1)]
    return [tuple(ordered[low:high]) for low, high in itertools.pairwise(bounds)]
