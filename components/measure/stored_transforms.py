"""Verification of the stored transformed images of a model, and its worst flips.

Images and parameters are read from storage, and the clean images are transformed again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np

from dermrobust.attacks.transforms.rendering import distances
from dermrobust.attacks.transforms.threat import TransformThreat
from dermrobust.components import storage
from dermrobust.components.evaluation.conditions import condition_of
from dermrobust.components.evaluation.names import CLEAN, canonical_epsilon
from dermrobust.components.examples import read_images
from dermrobust.components.measure.stored import FLIPS, Flip, flip_of, predicted_rows, worst
from dermrobust.components.transformed_images import StoredTransforms, read_transformed, transformed_name
from dermrobust.models.task import Task


@dataclass(frozen=True)
class TransformReader:
    """Locations of the transformed images and predictions of the evaluated models.

    Attributes:
        examples: URI of the clean images of each shard.
        predictions: URIs of the Parquet shards of each model's predictions on clean images.
        transformed: URIs of the Parquet shards of each model's predictions on transformed images.
        folders: URI of the artifact of each model's transformed images.
        attempts: threats and names of searches.
        task: the classification problem.
        flips: maximum number of flips of each model.
    """

    examples: Sequence[str]
    predictions: Mapping[str, Sequence[str]]
    transformed: Mapping[str, Sequence[str]]
    folders: Mapping[str, str]
    attempts: Sequence[tuple[TransformThreat, str]]
    task: Task
    flips: int


class ReadTransformed(beam.DoFn):
    """Reads a model's transformed images of one shard.

    Yields rows of `schemas.STORED_SCHEMA`, and under the tag FLIPS (model, flip) for the worst flips of the shard.
    """

    def __init__(self, reader: TransformReader) -> None:
        self._reader = reader

    def process(self, element: tuple[str, int]) -> Iterator[Any]:
        """Read the images of (model, shard)."""
        model, index = element
        reader, flips = self._reader, list[Flip]()
        ids, clean, encoded = read_images(reader.examples[index])
        before, after = (predicted_rows(uris[model][index]) for uris in (reader.predictions, reader.transformed))
        for threat, search in reader.attempts:
            name = transformed_name(threat, search, index, len(reader.examples))
            found = read_transformed(storage.join(reader.folders[model], name), threat)
            epsilon = canonical_epsilon(threat.strength)
            attack = condition_of(threat.family, search)
            place = {"model": model, "attack": attack, "epsilon": epsilon}
            apart = _apart(threat, ids, clean, found)
            yield {
                **{**place, "shard": index, "images": len(found.ids), "outside": int((apart > 0).sum())},
                "farthest": float(apart.max(initial=0.0)),
            }
            for at, image in enumerate(ids if found.ids == ids else ()):
                if flip := flip_of(reader.task, before[CLEAN, 0.0, image], after[attack, epsilon, image]):
                    images = {"clean": encoded[at], "adversarial": found.encoded[at]}
                    flips.append({**place, "image_id": image, **flip, **images})
        yield from (beam.pvalue.TaggedOutput(FLIPS, (model, each)) for each in worst(flips, reader.flips))


def _apart(threat: TransformThreat, ids: list[str], clean: Any, found: StoredTransforms) -> Any:
    """Return how far each image is from the threat model, in levels: float64 [count]; infinite where it is missing."""
    if found.ids != ids or found.pixels.shape != clean.shape:
        return np.full(max(len(ids), 1), math.inf)
    return distances(threat, found.pixels, clean, found.values)
