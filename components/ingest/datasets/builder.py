"""What the builders of all data sets share: records become shards of the three splits, generated on Beam."""

from __future__ import annotations

import abc
import concurrent.futures
import inspect
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from dermrobust.components import storage
from dermrobust.components.examples import Split
from dermrobust.components.ingest.quarantine import QuarantinedRecord
from dermrobust.components.ingest.records import LesionRecord, SplitFractions, unit_hash
from dermrobust.components.ingest.statistics import ShardCounts
from dermrobust.components.ingest.validation import BadRecord, ImageSize, Reason, check_image
from dermrobust.models.tasks.ham10000 import AGE

_SHARD_IMAGES = 512
_READERS = 2
_READ_AHEAD = 32


@dataclass
class LesionConfig(tfds.core.BuilderConfig):
    """How a builder splits, and where it leaves what does not fit into a TFDS data set.

    Attributes:
        splits: which share of lesions goes where.
        report_uri: where every shard leaves its counts and its bad records; None: nowhere.
        source: parameters of the particular data set.
    """

    splits: SplitFractions = field(default_factory=lambda: SplitFractions(0.1, 0.2, "dermrobust"))
    report_uri: str | None = None
    source: Any = None


class ImageReader(abc.ABC):
    """Turns a record into its encoded image, on whichever worker; must be picklable."""

    @abc.abstractmethod
    def read(self, record: LesionRecord) -> bytes:
        """Return the encoded image.

        Raises:
            BadRecord: there is no usable file.
        """


@dataclass(frozen=True)
class ShardGenerator:
    """Yields the examples of one shard; what it cannot use it reports beside the data set."""

    records: tuple[LesionRecord, ...]
    class_names: tuple[str, ...]
    reader: ImageReader
    report_uri: str | None
    name: str

    def __call__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (key, example) for each usable record."""
        counts, bad = ShardCounts(), list[QuarantinedRecord]()
        for record, outcome in zip(self.records, self._load_all(), strict=True):
            if isinstance(outcome, BadRecord):
                bad.append(QuarantinedRecord(record.image_id, outcome.reason, outcome.detail))
                continue
            content, size = outcome
            counts.add(record, size)
            yield record.image_id, self._example(record, content)
        self._report(counts, bad)

    def _load_all(self) -> Iterator[tuple[bytes, ImageSize] | BadRecord]:
        """Read and decode with a few threads, a bounded number of images ahead."""
        with concurrent.futures.ThreadPoolExecutor(_READERS) as pool:
            for start in range(0, len(self.records), _READ_AHEAD):
                yield from pool.map(self._load, self.records[start : start + _READ_AHEAD])

    def _load(self, record: LesionRecord) -> tuple[bytes, ImageSize] | BadRecord:
        try:
            if record.dx not in self.class_names:
                known = ", ".join(self.class_names)
                raise BadRecord(Reason.UNKNOWN_LABEL, f"dx '{record.dx}' is none of {known}")
            content = self.reader.read(record)
            return content, check_image(content)
        except BadRecord as problem:
            return problem

    def _example(self, record: LesionRecord, content: bytes) -> dict[str, Any]:
        return {
            "image": {"encoded": content, "id": record.image_id},
            "lesion": {"id": record.lesion_id},
            "label": record.dx,
            "dx": record.dx,
            "age": record.age,
            "age_group": AGE.group(record.age),
            "sex": record.sex,
            "localization": record.localization,
        }

    def _report(self, counts: ShardCounts, bad: Sequence[QuarantinedRecord]) -> None:
        if self.report_uri is None:
            return
        report = {
            "statistics": counts.to_json(),
            "quarantine": [{"id": item.id, "reason": item.reason, "detail": item.detail} for item in bad],
        }
        storage.write_json(storage.join(self.report_uri, f"{self.name}.json"), report)


@dataclass(frozen=True)
class Listing:
    """What a data set's metadata say.

    Attributes:
        records: the usable rows.
        rejected: rows that cannot be used whatever their image is.
        reader: turns a record into its image.
    """

    records: list[LesionRecord]
    rejected: list[QuarantinedRecord]
    reader: ImageReader


class LesionBuilder(tfds.core.ShardBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Base of the builders.

    A shard is generated as a whole by one worker: no shuffle holds images in memory, and the shards are the same
    whatever the number of workers. Records are spread over shards by a hash of their id.
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [LesionConfig(name="default")]

    def __init_subclass__(cls, **options: Any) -> None:
        """Tell TFDS where a builder's files are: it derives that from the module's name, which `package_dir` breaks."""
        super().__init_subclass__(**options)
        cls.pkg_dir_path = epath.Path(inspect.getfile(cls)).parent

    @abc.abstractmethod
    def class_names(self) -> tuple[str, ...]:
        """Return the classes in the order of their labels."""

    @abc.abstractmethod
    def listing(self, source: Any) -> Listing:
        """Return the records of a data set found at `source` (the manual download folder)."""

    @abc.abstractmethod
    def description(self) -> str:
        """Return what the data set is, with its source and licence."""

    def _info(self) -> tfds.core.DatasetInfo:
        names = list(self.class_names())
        text = tfds.features.Text()
        features = {
            "image": {"encoded": tfds.features.Image(shape=(None, None, 3)), "id": text},
            "lesion": {"id": text},
            "label": tfds.features.ClassLabel(names=names),
            "dx": text,
            "age": tfds.features.Scalar(np.float32),
            "age_group": text,
            "sex": text,
            "localization": text,
        }
        return tfds.core.DatasetInfo(
            builder=self, description=self.description(), features=tfds.features.FeaturesDict(features)
        )

    def _shard_iterators_per_split(self, dl_manager: tfds.download.DownloadManager) -> dict[str, list[ShardGenerator]]:
        listing = self.listing(dl_manager.manual_dir if self.MANUAL_DOWNLOAD_INSTRUCTIONS else None)
        config: LesionConfig = self.builder_config
        records, duplicates = _without_duplicates(listing.records)
        self._report_rejected(config.report_uri, [*listing.rejected, *duplicates])
        by_split: dict[Split, list[LesionRecord]] = {split: [] for split in Split}
        for record in records:
            by_split[config.splits.assign(record)].append(record)
        return {
            split.value: [
                ShardGenerator(
                    shard, self.class_names(), listing.reader, config.report_uri, f"{split.value}-{index:05d}"
                )
                for index, shard in enumerate(_shards(members, config.splits.salt))
            ]
            for split, members in by_split.items()
        }

    def _download_and_prepare(
        self, dl_manager: tfds.download.DownloadManager, download_config: tfds.download.DownloadConfig | None = None
    ) -> None:
        super()._download_and_prepare(dl_manager, download_config)
        # TFDS 4.9.10 sorts the shards' numbers as text (0, 1, 10, 2, …), so from 11 shards on it would record the
        # lengths of other shards; the numbers that its workers left are right.
        corrected = []
        for split in self.info.splits.values():
            path = epath.Path(f"{split.filename_template.filepath_prefix()}.shard_infos.json")
            if path.exists():
                lengths = sorted((int(index), length) for index, length in json.loads(path.read_text()).items())
                split = split.replace(shard_lengths=[length for _, length in lengths])
                path.unlink()
            corrected.append(split)
        self.info.set_splits(tfds.core.SplitDict(corrected))

    @staticmethod
    def _report_rejected(report_uri: str | None, rejected: list[QuarantinedRecord]) -> None:
        if report_uri is not None:
            rows = [{"id": item.id, "reason": item.reason, "detail": item.detail} for item in rejected]
            report = {"statistics": None, "quarantine": rows}
            storage.write_json(storage.join(report_uri, "metadata.json"), report)


def _without_duplicates(records: list[LesionRecord]) -> tuple[list[LesionRecord], list[QuarantinedRecord]]:
    """Set aside every record whose id or image occurs more than once: which of them tells the truth is unknown.

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


def _shards(records: list[LesionRecord], salt: str) -> list[tuple[LesionRecord, ...]]:
    """Return records in hash order, in shards of about equal size; at least one shard."""
    ordered = sorted(records, key=lambda record: (unit_hash(f"{salt}/order", record.image_id), record.image_id))
    count = max(1, round(len(ordered) / _SHARD_IMAGES))
    bounds = [len(ordered) * index // count for index in range(count + 1)]
    return [tuple(ordered[low:high]) for low, high in itertools.pairwise(bounds)]
