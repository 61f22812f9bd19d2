"""Verification of the stored images of a model under attack, and its worst flips.

Images are read from storage again, independently of the code that wrote them.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np

from dermrobust.attacks.threat import Pixels
from dermrobust.components.evaluation.names import CLEAN, canonical_epsilon
from dermrobust.components.evaluation.tables import read_columns
from dermrobust.components.examples import read_images
from dermrobust.models.task import Task

WORST_FIRST = ("-danger", "epsilon", "-p_after", "image_id", "model", "attack")
"""Sort keys of flips: danger, then the smallest budget, then the highest probability of the wrong class."""
FLIPS = "flips"
CRITICAL_MISSED, MALIGNANCY_MISSED, FALSE_ALARM, OTHER = 3, 2, 1, 0

Predicted = Mapping[tuple[str, float, str], tuple[int, Sequence[float]]]
"""Label and probabilities by attack, epsilon and image."""
Flip = Mapping[str, Any]
"""Image that is right when clean and wrong under attack: a row of `schemas.FLIPS_SCHEMA`."""


@dataclass(frozen=True)
class CleanShard:
    """Clean images of a shard.

    Attributes:
        index: number of the shard.
        ids: ids of the images.
        pixels: uint8 [count, height, width, 3].
        predicted: what is in the shard of the model's predictions: on these images, and under attacks.
    """

    index: int
    ids: list[str]
    pixels: Pixels
    predicted: Predicted


@dataclass(frozen=True)
class StoredImages:
    """Images of a shard as they are stored under one attack.

    Attributes:
        attack: name of the attack.
        epsilon: its budget.
        ids: ids of the images; those of the clean ones, unless some are missing.
        encoded: their files.
        outside: number of images outside of the threat model.
        farthest: largest distance: from the clean image under a norm, from the threat model beyond one.
        predicted: predictions among which are those on these images.
    """

    attack: str
    epsilon: float
    ids: list[str]
    encoded: Sequence[bytes]
    outside: int
    farthest: float
    predicted: Predicted


@dataclass(frozen=True, kw_only=True)
class Reader(abc.ABC):
    """Locations of the images and predictions of the evaluated models.

    Attributes:
        examples: URI of the clean images of each shard.
        predictions: URIs of the Parquet shards of each model's predictions on clean images.
        folders: URI of the artifact of each model's stored images.
        task: the classification problem.
        flips: maximum number of flips of each model.
    """

    examples: Sequence[str]
    predictions: Mapping[str, Sequence[str]]
    folders: Mapping[str, str]
    task: Task
    flips: int

    @abc.abstractmethod
    def stored(self, model: str, clean: CleanShard) -> Iterator[StoredImages]:
        """Yield what is stored of a model under each attack, beside the clean images of a shard."""


class ReadStored(beam.DoFn):
    """Reads a model's stored images of one shard.

    Yields rows of `schemas.STORED_SCHEMA`, and under the tag FLIPS (model, flip) for the worst flips of the shard.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def process(self, element: tuple[str, int]) -> Iterator[Any]:
        """Read the images of (model, shard)."""
        model, index = element
        reader, flips = self._reader, list[Flip]()
        ids, pixels, encoded = read_images(reader.examples[index])
        clean = CleanShard(index, ids, pixels, predicted_rows(reader.predictions[model][index]))
        for found in reader.stored(model, clean):
            place = {"model": model, "attack": found.attack, "epsilon": found.epsilon}
            measured = {"images": len(found.ids), "outside": found.outside, "farthest": found.farthest}
            yield {**place, "shard": index, **measured}
            for at, image in enumerate(ids if found.ids == ids else ()):
                after = found.predicted[found.attack, canonical_epsilon(found.epsilon), image]
                if flip := flip_of(reader.task, clean.predicted[CLEAN, 0.0, image], after):
                    images = {"clean": encoded[at], "adversarial": found.encoded[at]}
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


def predicted_rows(uri: str) -> Predicted:
    """Return the predictions of a shard: label and probabilities by attack, epsilon and image."""
    table = read_columns(uri, ["attack", "epsilon", "image_id", "label", "probabilities"]).to_pydict()
    return {
        (attack, canonical_epsilon(epsilon), image): (label, scores)
        for attack, epsilon, image, label, scores in zip(*table.values(), strict=True)
    }
