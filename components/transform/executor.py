"""Executor of transform: units of work are (shard, threat, search)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dermrobust.attacks.engine import to_images
from dermrobust.attacks.logits import logits_of
from dermrobust.attacks.threat import Pixels
from dermrobust.attacks.transforms.engine import search_seeds, transform_pixels
from dermrobust.attacks.transforms.threat import TransformThreat
from dermrobust.components import storage
from dermrobust.components.adversarial_shard import write_records
from dermrobust.components.artifacts import Artifact
from dermrobust.components.attack_targets import classifier_of, probabilities_of
from dermrobust.components.component import Context
from dermrobust.components.evaluation.conditions import condition_of
from dermrobust.components.evaluation.predictions import PREDICTIONS, predictions_table
from dermrobust.components.evaluation.transform_params import TransformParams
from dermrobust.components.examples import Batch, ExamplesSpec, Split, read_shard, shard_uris
from dermrobust.components.slices.derive import derived_features
from dermrobust.components.transformed_images import transformed_name, transformed_records
from dermrobust.components.units import Unit, run_units
from dermrobust.models.task import IMAGE_ID, Task


def run(context: Context) -> None:
    """Search the test split on Beam; write predictions and the images they were made on, with their parameters."""
    params = context.params
    assert isinstance(params, TransformParams)
    examples = context.input("examples")
    spec = ExamplesSpec.read(examples)
    shards = shard_uris(examples, spec, Split.TEST)
    output = context.outputs["predictions"]
    searched = tuple(itertools.product(params.threats, params.searches))
    units = [
        Unit(uri, index, len(shards), PREDICTIONS, place)
        for index, uri in enumerate(shards)
        for place in range(len(searched))
    ]
    transformer = Transformer(context.input("model"), params, searched, output, spec.task)
    run_units(context.beam, context.progress, output, units, transformer)


@dataclass(frozen=True)
class Transformer:
    """Searches and scores the images of a unit. What is scored is what is stored, by the network as it is exported.

    Attributes:
        model: the model.
        params: parameters of the component.
        searched: threats and names of searches, in the order of the results.
        output: URI of the artifact.
        task: the classification problem.
    """

    model: Artifact
    params: TransformParams
    searched: tuple[tuple[TransformThreat, str], ...]
    output: str
    task: Task

    def __call__(self, unit: Unit) -> pa.Table:
        """Write the unit's images and return its predictions."""
        threat, search = self.searched[unit.place]
        rows: list[dict[str, Any]] = []
        records: list[bytes] = []
        for batch in read_shard(unit.source, self.task):
            found = transform_pixels(
                self.params.searches[search],
                classifier_of(self.model),
                batch.pixels,
                batch.labels,
                # A seed for each image by its id: neither shards, bundles nor retries change an image.
                search_seeds(batch.columns[IMAGE_ID], search=search, threat=threat, seed=self.params.seed),
                threat=threat,
                batch_size=self.params.batch_size,
                stop_at_success=self.params.stop_at_success,
            )
            records += transformed_records(batch, found, threat, search, self.model.fingerprint)
            rows += self._rows(batch, found.pixels, threat, search)
        # Before the table, which marks the unit as finished.
        write_records(storage.join(self.output, transformed_name(threat, search, unit.shard, unit.shards)), records)
        return predictions_table(rows, self.task, self.params.slices)

    def _rows(self, batch: Batch, pixels: Pixels, threat: TransformThreat, search: str) -> list[dict[str, Any]]:
        logits = logits_of(classifier_of(self.model), to_images(pixels), self.params.batch_size)
        derived = derived_features(self.params.slices, batch.pixels)
        return [
            {
                **batch.record(index),
                **{name: values[index] for name, values in derived.items()},
                "model": self.model.fingerprint,
                "attack": condition_of(threat.family, search),
                "norm": threat.family,
                "epsilon": threat.strength,
                "probabilities": scores.tolist(),
                "predicted": int(scores.argmax()),
                "radius": None,
            }
            for index, scores in enumerate(probabilities_of(logits))
        ]
