"""Images that withstood the attacks of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dermrobust.components.evaluation.names import CLEAN, canonical_epsilon
from dermrobust.components.evaluation.probes import PROBES
from dermrobust.components.evaluation.tables import read_columns

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Broken:
    """Images that evaluated attacks broke: their ids by attack and epsilon."""

    ids: Mapping[tuple[str, float], frozenset[str]]

    @classmethod
    def read(cls, uri: str) -> Broken:
        """Read the predictions of a shard."""
        table = read_columns(uri, ["image_id", "attack", "epsilon", "label", "predicted"]).to_pydict()
        broken: dict[tuple[str, float], set[str]] = {}
        for image, attack, epsilon, label, predicted in zip(*table.values(), strict=True):
            if predicted != label:
                broken.setdefault((attack, canonical_epsilon(epsilon)), set()).add(image)
        return cls({place: frozenset(images) for place, images in broken.items()})

    def with_probes(self, uri: str) -> Broken:
        """Return also what the probes of a shard broke, as if it were one attack named PROBES."""
        table = read_columns(uri, ["image_id", "epsilon", "label", "predicted"]).to_pydict()
        broken: dict[tuple[str, float], set[str]] = {}
        for image, epsilon, label, predicted in zip(*table.values(), strict=True):
            # Images that were not tried have no prediction.
            if predicted is not None and predicted != label:
                broken.setdefault((PROBES, canonical_epsilon(epsilon)), set()).add(image)
        return Broken({**self.ids, **{place: frozenset(images) for place, images in broken.items()}})

    def standing(self, ids: Sequence[str], attacks: Sequence[str], epsilon: float) -> Flags:
        """Return which images are classified correctly when clean and under these attacks: bool [image]."""
        places = [(CLEAN, 0.0), *((attack, canonical_epsilon(epsilon)) for attack in attacks)]
        fallen = frozenset[str]().union(*(self.ids.get(place, frozenset()) for place in places))
        return np.asarray([image not in fallen for image in ids], bool)
