"""TFDS builder of drawn images of skin lesions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from dermrobust.components.image_record import ImageRecord
from dermrobust.components.ingest.datasets.builder import ImageBuilder, ImageConfig, Listing
from dermrobust.components.ingest.datasets.synthetic.population import SyntheticRecord, sample_population
from dermrobust.components.ingest.datasets.synthetic.rendering import encode_png, render
from dermrobust.components.ingest.datasets.synthetic.source import SyntheticSource
from dermrobust.components.ingest.shard_generator import ImageReader
from dermrobust.models.tasks.ham10000 import AGE


@dataclass(frozen=True)
class _Renderer(ImageReader):
    """Draws a record; its locator holds the two seeds. NumPy on small arrays holds the interpreter's lock."""

    threads: ClassVar[int] = 1

    height: int
    width: int
    ambiguity: float

    def read(self, record: ImageRecord) -> bytes:
        """See `ImageReader.read`."""
        lesion_seed, image_seed = (int(part) for part in record.locator.split("/"))
        age = float(record.metadata["age"])
        synthetic = SyntheticRecord(
            image_id=record.image_id,
            lesion_id=record.group,
            dx=record.class_name,
            age=None if math.isnan(age) else age,
            sex=str(record.metadata["sex"]),
            localization=str(record.metadata["localization"]),
            lesion_seed=lesion_seed,
            image_seed=image_seed,
        )
        return encode_png(render(synthetic, self.height, self.width, self.ambiguity))


class Synthetic(ImageBuilder):
    """Drawn lesions in HAM10000's class proportions: for trying and testing the pipeline, not for medicine."""

    BUILDER_CONFIGS = [ImageConfig(name="default", source=SyntheticSource())]
    DESCRIPTION = "Procedurally drawn dermatoscopic images with the class proportions of HAM10000."

    def listing(self, folder: Path | None) -> Listing:
        """See `ImageBuilder.listing`."""
        del folder
        source: SyntheticSource = self.builder_config.source
        records = [_record(item) for item in sample_population(source.count, source.seed, balanced=source.balanced)]
        return Listing(records, [], _Renderer(source.height, source.width, source.ambiguity))


def _record(item: SyntheticRecord) -> ImageRecord:
    age = math.nan if item.age is None else item.age
    return ImageRecord(
        image_id=item.image_id,
        class_name=item.dx,
        group=item.lesion_id,
        metadata={"age": age, AGE.grouped_as: AGE.group(age), "sex": item.sex, "localization": item.localization},
        locator=f"{item.lesion_seed}/{item.image_seed}",
    )
