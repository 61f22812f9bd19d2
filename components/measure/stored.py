"""Second reading of the stored adversarial images of a model: distances from the clean images, and the worst flips."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np

from dermrobust.attacks.threat import Norm, Pixels, ThreatModel
from dermrobust.components import storage
from dermrobust.components.evaluation.predictions import ADVERSARIAL, folder_name
from dermrobust.components.evaluation.tables import read_columns
from dermrobust.components.evaluation.thresholds import CLEAN, canonical_epsilon
from dermrobust.components.examples import Split, read_images, shard_name
from dermrobust.models.task import Task

WORST_FIRST = ("-danger", "epsilon", "-p_after", "image_id", "model", "attack")
"""How flips are ordered: by what they mean, then by how little it took, then by how sure the model is."""
FLIPS = "flips"
CRITICAL_MISSED, MALIGNANCY_MISSED, FALSE_ALARM, OTHER = 3, 2, 1, 0


_Predicted = Mapping[tuple[str, float, str], tuple[int, Sequence[float]]]
Flip = Mapping[str, Any]
"""An image that was right and is wrong under attack: a row of `schemas.FLIPS_SCHEMA`."""


@dataclass(frozen=True)
class Reader:
    """Where the images and predictions of the evaluated models are.

    Attributes:
        examples: for each shard the URI of the clean images.
        predictions: for each model the URIs of its Parquet shards.
        folders: for each model the URI of its predictions artifact.
        attempts: what was stored for each model: (attack, threat).
        task: the classification problem.
        flips: number of flips that are wanted of each model.
    """

    examples: Sequence[str]
    predictions: Mapping[str, Sequence[str]]
    folders: Mapping[str, str]
    attempts: Sequence[tuple[str, ThreatModel]]
    task: Task
    flips: int


class ReadStored(beam.DoFn):
    """Reads a model's adversarial images of one shard again, independently of what wrote them.

    Yields rows of `schemas.STORED_SCHEMA`, and under the tag FLIPS (model, flip) for the worst flips of the shard.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def process(self, element: tuple[str, int]) -> Iterator[Any]:
        """Read the images of (model, shard)."""
        model, index = element
        reader = self._reader
        ids, clean, encoded = read_images(reader.examples[index])
        rows = _predicted(reader.predictions[model][index])
        flips: list[Flip] = []
        for attack, threat in reader.attempts:
            name = shard_name(Split.TEST, index, len(reader.examples))
            uri = storage.join(reader.folders[model], ADVERSARIAL, folder_name(attack, threat), name)
            found, adversarial, stored = read_images(uri)
            place = {"model": model, "attack": attack, "epsilon": threat.epsilon}
            outside, farthest = _distances(threat, clean, adversarial) if found == ids else (len(ids), math.inf)
            yield {**place, "shard": index, "images": len(found), "outside": outside, "farthest": farthest}
            if found == ids:
                flips += [
                    {**place, **flip, "clean": encoded[at], "adversarial": stored[at]}
                    for at, flip in self._flips(attack, canonical_epsilon(threat.epsilon), ids, rows)
                ]
        for flip in worst(flips, reader.flips):
            yield beam.pvalue.TaggedOutput(FLIPS, (model, flip))

    def _flips(
        self, attack: str, epsilon: float, ids: Sequence[str], rows: _Predicted
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield (place, what is known of it) for each image that was right and is wrong."""
        names = self._reader.task.class_names
        for place, image in enumerate(ids):
            label, before = rows[CLEAN, 0.0, image]
            _, after = rows[attack, epsilon, image]
            first, second = int(np.argmax(before)), int(np.argmax(after))
            if first == label != second:
                yield (
                    place,
                    {
                        **{"image_id": image, "truth": names[label]},
                        **{"predicted_before": names[first], "predicted_after": names[second]},
                        **{"p_before": float(before[first]), "p_after": float(after[second])},
                        "danger": self._danger(names[label], names[second]),
                    },
                )

    def _danger(self, truth: str, taken_for: str) -> int:
        task = self._reader.task
        malignant = task.malignant
        if truth in malignant and taken_for not in malignant:
            return CRITICAL_MISSED if truth in task.critical else MALIGNANCY_MISSED
        return FALSE_ALARM if truth not in malignant and taken_for in malignant else OTHER


def worst(flips: Iterable[Flip], count: int) -> list[Flip]:
    """Return the worst flips in the order of WORST_FIRST, each image once."""
    kept: dict[str, Flip] = {}
    for flip in sorted(flips, key=_order):
        kept.setdefault(flip["image_id"], flip)
    return list(kept.values())[:count]


def _order(flip: Flip) -> tuple[Any, ...]:
    return tuple(-flip[name[1:]] if name.startswith("-") else flip[name] for name in WORST_FIRST)


def _distances(threat: ThreatModel, clean: Pixels, adversarial: Pixels) -> tuple[int, float]:
    """Return how many images are outside the budget, and the largest distance in 1/255."""
    if not len(clean):
        return 0, 0.0
    if adversarial.shape != clean.shape:
        return len(clean), math.inf
    difference = np.abs(adversarial.astype(np.int64) - clean)
    lengths = difference.max((1, 2, 3)) if threat.norm is Norm.LINF else np.sqrt(np.square(difference).sum((1, 2, 3)))
    return int((~threat.contains(adversarial, clean)).sum()), float(lengths.max())


def _predicted(uri: str) -> _Predicted:
    """Return (label, probabilities) by attack, epsilon and image."""
    table = read_columns(uri, ["attack", "epsilon", "image_id", "label", "probabilities"]).to_pydict()
    return {
        (attack, canonical_epsilon(epsilon), image): (label, scores)
        for attack, epsilon, image, label, scores in zip(*table.values(), strict=True)
    }
