"""Procedural dermatoscopic images: the data that come with the product."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from dermrobust.components.ingest.datasets.builder import ImageReader, LesionBuilder, LesionConfig, Listing
from dermrobust.components.ingest.datasets.synthetic.population import SyntheticRecord, sample_population
from dermrobust.components.ingest.datasets.synthetic.rendering import encode_png, render
from dermrobust.components.ingest.datasets.synthetic.source import SyntheticSource
from dermrobust.components.ingest.records import LesionRecord
from dermrobust.models.lesions import HAM10000_CLASSES


@dataclass(frozen=True)
class _Renderer(ImageReader):
    """Draws a record; its locator holds the two seeds."""

    height: int
    width: int

    def read(self, record: LesionRecord) -> bytes:
        """See `ImageReader.read`."""
        lesion_seed, image_seed = (int(part) for part in record.locator.split("/"))
        synthetic = SyntheticRecord(
            image_id=record.image_id,
            lesion_id=record.lesion_id,
            dx=record.dx,
            age=None if math.isnan(record.age) else record.age,
            sex=record.sex,
            localization=record.localization,
            lesion_seed=lesion_seed,
            image_seed=image_seed,
        )
        return encode_png(render(synthetic, self.height, self.width))


class Synthetic(LesionBuilder):
    """Drawn lesions in HAM10000's class proportions; a stand-in to run on, not to learn medicine from."""

    BUILDER_CONFIGS = [LesionConfig(name="default", source=SyntheticSource())]

    @property
    def _source(self) -> SyntheticSource:
        source: SyntheticSource = self.builder_config.source
        return source

    def class_names(self) -> tuple[str, ...]:
        """See `LesionBuilder.class_names`."""
        return HAM10000_CLASSES

    def description(self) -> str:
        """See `LesionBuilder.description`."""
        return "Procedurally drawn dermatoscopic images with the class proportions of HAM10000."

    def listing(self, source: Any) -> Listing:
        """See `LesionBuilder.listing`."""
        del source
        settings = self._source
        records = [
            LesionRecord(
                image_id=item.image_id,
                lesion_id=item.lesion_id,
                dx=item.dx,
                age=math.nan if item.age is None else item.age,
                sex=item.sex,
                localization=item.localization,
                locator=f"{item.lesion_seed}/{item.image_seed}",
            )
            for item in sample_population(settings.count, settings.seed)
        ]
        return Listing(records, [], _Renderer(settings.height, settings.width))
