"""Reader of the stored transformed images of the models, which transforms the clean ones again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dermrobust.attacks.transforms.rendering import distances
from dermrobust.attacks.transforms.threat import TransformThreat
from dermrobust.components import storage
from dermrobust.components.evaluation.conditions import condition_of
from dermrobust.components.evaluation.names import canonical_epsilon
from dermrobust.components.measure.stored import CleanShard, Reader, StoredImages, predicted_rows
from dermrobust.components.transformed_images import StoredTransforms, read_transformed, transformed_name


@dataclass(frozen=True, kw_only=True)
class TransformReader(Reader):
    """Reader of images beyond a norm, and of the parameters that they follow from.

    Attributes:
        transformed: URIs of the Parquet shards of each model's predictions on transformed images.
        attempts: threats and names of searches.
    """

    transformed: Mapping[str, Sequence[str]]
    attempts: Sequence[tuple[TransformThreat, str]]

    def stored(self, model: str, clean: CleanShard) -> Iterator[StoredImages]:
        """See `Reader.stored`."""
        predicted = predicted_rows(self.transformed[model][clean.index])
        for threat, search in self.attempts:
            name = transformed_name(threat, search, clean.index, len(self.examples))
            found = read_transformed(storage.join(self.folders[model], name), threat)
            apart = _apart(threat, clean, found)
            yield StoredImages(
                attack=condition_of(threat.family, search),
                epsilon=canonical_epsilon(threat.strength),
                ids=found.ids,
                encoded=found.encoded,
                outside=int((apart > 0).sum()),
                farthest=float(apart.max(initial=0.0)),
                predicted=predicted,
            )


def _apart(threat: TransformThreat, clean: CleanShard, found: StoredTransforms) -> Any:
    """Return how far each image is from the threat model, in levels: float64 [count]; infinite where it is missing."""
    if found.ids != clean.ids or found.pixels.shape != clean.pixels.shape:
        return np.full(max(len(clean.ids), 1), math.inf)
    return distances(threat, found.pixels, clean.pixels, found.values)
