"""Verification of the stored adversarial images of a model, and its worst flips.

Images are read from storage again, independently of the code that wrote them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np

from dermrobust.attacks.threat import Pixels, ThreatModel
from dermrobust.components import storage
from dermrobust.components.evaluation.names import CLEAN, canonical_epsilon
from dermrobust.components.evaluation.predictions import ADVERSARIAL, folder_name
from dermrobust.components.evaluation.tables import read_columns
from dermrobust.components.examples import Split, read_images, shard_name
from dermrobust.models.task import Task

WORST_FIRST = ("-danger", "epsilon", "-p_after", "image_id", "model", "attack")
"""Sort keys of flips: danger, then the smallest budget, then the highest probability of the wrong class."""
FLIPS = "flips"
CRITICAL_MISSED, MALIGNANCY_MISSED, FALSE_ALARM, OTHER = 3, 2, 1, 0

_Predicted = Mapping[tuple[str, float, str], tuple[int, Sequence[float]]]
"""Label and probabilities by attack, epsilon and image."""
Flip = Mapping[str, Any]
"""Image that is right when clean and wrong under attack: a row of `schemas.FLIPS_SCHEMA`."""


@dataclass(frozen=True)
class Reader:
    """Locations of the images and predictions of the evaluated models.

    Attributes:
        examples: URI of the clean images of each shard.
        predictions: URIs of the Parquet shards of each model's predictions.
        folders: URI of each model's predictions artifact.
        attempts: stored attacks of each model: (attack, threat).
        task: the classification problem.
        flips: maximum number of flips of each model.
    """

    examples: Sequence[str]
    predictions: Mapping[str, Sequence[str]]
    folders: Mapping[str, str]
    attempts: Sequence[tuple[str, ThreatModel]]
    task: Task
    flips: int


class ReadStored(beam.DoFn):
    """Reads a model's adversarial images of one shard.

    Yields rows of `schemas.STORED_SCHEMA`, and under the tag FLIPS (model, flip) for the worst flips of the shard.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def process(self, element: tuple[str, int]) -> Iterator[Any]:
        """Read the images of (model, shard)."""
        model, index = element
        reader = self._reader
        ids, clean, encoded = read_images(reader.examples[index])
        rows = predicted_rows(reader.predictions[model][index])
        name = shard_name(Split.TEST, index, len(reader.examples))
        flips: list[Flip] = []
        for attack, threat in reader.attempts:
            uri = storage.join(reader.folders[model], ADVERSARIAL, folder_name(attack, threat), name)
            found, adversarial, stored = read_images(uri)
            place = {"model": model, "attack": attack, "epsilon": threat.epsilon}
            outside, farthest = _distances(threat, clean, adversarial) if found == ids else (len(ids), math.inf)
            yield {**place, "shard": index, "images": len(found), "outside": outside, "farthest": farthest}
            for at, image in enumerate(ids if found == ids else ()):
                after = rows[attack, canonical_epsilon(threat.epsilon), image]
                if flip := flip_of(reader.task, rows[CLEAN, 0.0, image], after):
                    images = {"clean": encoded[at], "adversarial": stored[at]}
                    flips.append({**place, "image_id": image, **flip, **images})
        yield from (beam.pvalue.TaggedOutput(FLIPS, (model, each)) for each in worst(flips, reader.flips))


def worst(flips: Iterable[Flip], count: int) -> list[Flip]:
    """Return the worst flips in the order of WORST_FIRST, each image once."""
    kept: dict[str, Flip] = {}
    for flip in sorted(flips, key=_order):
        kept.setdefault(flip["image_id"], flip)
    return list(kept.values())[:count]


def _order(flip: Flip) -> tuple[Any, ...]:
    return tuple(-flip[name[1:]] if name.startswith("-") else flip[name] for name in WORST_FIRST)


def flip_of(
    task: Task, clean: tuple[int, Sequence[float]], attacked: tuple[int, Sequence[float]]
) -> dict[str, Any] | None:
    """Return classes, probabilities and danger of a flip; None where the image is no flip."""
    (label, before), (_, after) = clean, attacked
    first, second = int(np.argmax(before)), int(np.argmax(after))
    if not first == label != second:
        return None
    names = task.class_names
    return {
        **{"truth": names[label], "predicted_before": names[first], "predicted_after": names[second]},
        **{"p_before": float(before[first]), "p_after": float(after[second])},
        "danger": _danger(task, names[label], names[second]),
    }


def _danger(task: Task, truth: str, predicted: str) -> int:
    malignant = task.malignant
    if truth in malignant and predicted not in malignant:
        return CRITICAL_MISSED if truth in task.critical else MALIGNANCY_MISSED
    return FALSE_ALARM if truth not in malignant and predicted in malignant else OTHER


def _distances(threat: ThreatModel, clean: Pixels, adversarial: Pixels) -> tuple[int, float]:
    """Return the number of images outside the budget, and the largest distance in 1/255, under L0 in pixels."""
    if not len(clean):
        return 0, 0.0
    if adversarial.shape != clean.shape:
        return len(clean), math.inf
    lengths = threat.distance(adversarial.astype(np.float32), clean.astype(np.float32))
    return int((~threat.contains(adversarial, clean)).sum()), float(lengths.max())


def predicted_rows(uri: str) -> _Predicted:
    """Return the predictions of a shard: label and probabilities by attack, epsilon and image."""
    table = read_columns(uri, ["attack", "epsilon", "image_id", "label", "probabilities"]).to_pydict()
    return {
        (attack, canonical_epsilon(epsilon), image): (label, scores)
        for attack, epsilon, image, label, scores in zip(*table.values(), strict=True)
    }
