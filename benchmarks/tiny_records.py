"""A data set of any number of tiny records, which costs hardly more than what is done with them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from dermrobust.components.image_record import ImageRecord
from dermrobust.components.ingest.datasets.builder import ImageBuilder, ImageConfig, Listing
from dermrobust.components.ingest.datasets.synthetic.rendering import encode_png
from dermrobust.components.ingest.registry import DATASETS
from dermrobust.components.ingest.shard_generator import ImageReader
from dermrobust.components.ingest.source import Source
from dermrobust.models.task import Task
from dermrobust.models.tasks.ham10000 import AGE, TASK

SIDE = 8
"""Height and width of an image in pixels, the smallest that ingest takes."""


class TinySource(Source):
    """Images of noise, two of each lesion, in equal numbers of all classes."""

    builder = "benchmarks.tiny_records:TinyRecords"
    drawn: ClassVar[bool] = True
    needs_path: ClassVar[bool] = False

    dataset: Literal["tiny"] = Field("tiny", description="Name of the data set.")
    count: int = Field(1_000_000, ge=1, description="Number of images.")

    @property
    def resolved_task(self) -> Task:
        """See `Source.resolved_task`."""
        return TASK


class _Noise(ImageReader):
    """Draws an image whose pixels follow from its id."""

    def read(self, record: ImageRecord) -> bytes:
        """See `ImageReader.read`."""
        seed = int.from_bytes(hashlib.sha256(record.image_id.encode()).digest()[:8], "little")
        return encode_png(np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))


class TinyRecords(ImageBuilder):
    """Builder of `TinySource`."""

    BUILDER_CONFIGS = [ImageConfig(name="default", source=TinySource())]
    DESCRIPTION = "Images of noise, for measuring what is done with records."

    def listing(self, folder: Path | None) -> Listing:
        """See `ImageBuilder.listing`."""
        del folder
        source: TinySource = self.builder_config.source
        return Listing([_record(index) for index in range(source.count)], [], _Noise())


def _record(index: int) -> ImageRecord:
    age = float(20 + 5 * (index % 12))
    return ImageRecord(
        image_id=f"T{index:09d}",
        class_name=TASK.class_names[index // 2 % len(TASK.class_names)],
        group=f"L{index // 2:09d}",
        metadata={"age": age, AGE.grouped_as: AGE.group(age), "sex": "female", "localization": "back"},
        locator=str(index),
    )


def register() -> None:
    """Let configs of this process name the data set 'tiny'."""
    entries: Any = DATASETS.entries
    entries["tiny"] = "benchmarks.tiny_records:TinySource"
