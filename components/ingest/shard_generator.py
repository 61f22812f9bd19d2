"""Generation of one shard: images are read and checked, and what cannot be used is reported."""

from __future__ import annotations

import abc
import concurrent.futures
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from dermrobust.components import storage
from dermrobust.components.image_record import ImageRecord
from dermrobust.components.image_validation import BadRecord, ImageSize, Reason, check_image
from dermrobust.components.ingest.quarantine import QuarantinedRecord
from dermrobust.components.ingest.statistics import ShardCounts
from dermrobust.models.task import IMAGE, Task

_READ_AHEAD = 32
"""Images in memory at a time, at most; a photograph of 12 megapixels is a file of several megabytes."""


class ImageReader(abc.ABC):
    """Turns a record into its encoded image, on whichever worker; must be picklable.

    Attributes:
        threads: number of images of a shard that are read and checked at a time. Pillow and zlib release the
            interpreter's lock; a reader that holds it is faster with one.
    """

    threads: ClassVar[int] = 2

    @abc.abstractmethod
    def read(self, record: ImageRecord) -> bytes:
        """Return the encoded image.

        Raises:
            BadRecord: there is no usable file.
        """


@dataclass(frozen=True)
class ShardGenerator:
    """Yields the examples of one shard.

    Attributes:
        records: the images of the shard, in order.
        task: the classification problem.
        reader: reads the image of a record.
        report_uri: folder for counts and bad records; None: they are not reported.
        name: file name of the report, without its suffix.
    """

    records: tuple[ImageRecord, ...]
    task: Task
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
            counts.add(record, size, self.task)
            yield record.image_id, nested({IMAGE: content, **record.features(self.task)})
        if self.report_uri is not None:
            write_report(self.report_uri, self.name, counts, bad)

    def _load_all(self) -> Iterator[tuple[bytes, ImageSize] | BadRecord]:
        """Read and decode with a few threads, a bounded number of images ahead."""
        with concurrent.futures.ThreadPoolExecutor(self.reader.threads) as pool:
            for start in range(0, len(self.records), _READ_AHEAD):
                yield from pool.map(self._load, self.records[start : start + _READ_AHEAD])

    def _load(self, record: ImageRecord) -> tuple[bytes, ImageSize] | BadRecord:
        try:
            if record.class_name not in self.task.class_names:
                known = ", ".join(self.task.class_names)
                detail = f"{self.task.class_key} '{record.class_name}' is none of {known}"
                raise BadRecord(Reason.UNKNOWN_LABEL, detail)
            content = self.reader.read(record)
            return content, check_image(content)
        except BadRecord as problem:
            return problem


def nested(features: Mapping[str, Any]) -> dict[str, Any]:
    """Return features as TFDS nests them: "image/id" becomes the entry "id" of "image"."""
    result: dict[str, Any] = {}
    for name, value in features.items():
        outer, _, inner = name.partition("/")
        if inner:
            result.setdefault(outer, {})[inner] = value
        else:
            result[outer] = value
    return result


def write_report(uri: str, name: str, counts: ShardCounts | None, bad: Sequence[QuarantinedRecord]) -> None:
    """Write what was counted and what goes to quarantine; TFDS keeps neither."""
    report = {
        "statistics": None if counts is None else counts.to_json(),
        "quarantine": [{"id": item.id, "reason": item.reason, "detail": item.detail} for item in bad],
    }
    storage.write_json(storage.join(uri, f"{name}.json"), report)
