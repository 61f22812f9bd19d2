"""Reader of the stored adversarial images of the models, which measures their distances from the clean ones."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dermrobust.attacks.threat import Pixels, ThreatModel
from dermrobust.components import storage
from dermrobust.components.evaluation.predictions import ADVERSARIAL, folder_name
from dermrobust.components.examples import Split, read_images, shard_name
from dermrobust.components.measure.stored import CleanShard, Reader, StoredImages


@dataclass(frozen=True, kw_only=True)
class AttackReader(Reader):
    """Reader of images under a norm. Predictions on them stand beside those on clean images.

    Attributes:
        attempts: stored attacks of each model: (attack, threat).
    """

    attempts: Sequence[tuple[str, ThreatModel]]

    def stored(self, model: str, clean: CleanShard) -> Iterator[StoredImages]:
        """See `Reader.stored`."""
        name = shard_name(Split.TEST, clean.index, len(self.examples))
        for attack, threat in self.attempts:
            ids, pixels, encoded = read_images(
                storage.join(self.folders[model], ADVERSARIAL, folder_name(attack, threat), name)
            )
            distances = _distances(threat, clean.pixels, pixels) if ids == clean.ids else (len(clean.ids), math.inf)
            yield StoredImages(attack, threat.epsilon, ids, encoded, *distances, clean.predicted)


def _distances(threat: ThreatModel, clean: Pixels, adversarial: Pixels) -> tuple[int, float]:
    """Return the number of images outside the budget, and the largest distance in 1/255, under L0 in pixels."""
    if not len(clean):
        return 0, 0.0
    if adversarial.shape != clean.shape:
        return len(clean), math.inf
    lengths = threat.distance(adversarial.astype(np.float32), clean.astype(np.float32))
    return int((~threat.contains(adversarial, clean)).sum()), float(lengths.max())
