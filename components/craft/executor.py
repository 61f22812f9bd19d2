"""Executor of craft: units of work are (shard, budget)."""

from __future__ import annotations

from collections.abc import Iterator

import apache_beam as beam

from dermrobust.attacks.target import Precision
from dermrobust.components import storage
from dermrobust.components.adversarial_shard import Crafting, write_records
from dermrobust.components.artifacts import Artifact
from dermrobust.components.attack_targets import target_of
from dermrobust.components.component import Context
from dermrobust.components.craft.component import CraftParams
from dermrobust.components.evaluation.predictions import adversarial_name, share_of
from dermrobust.components.examples import ExamplesSpec, Split, read_shard, shard_uris
from dermrobust.components.progress import watch_files
from dermrobust.models.task import Task


def run(context: Context) -> None:
    """Craft adversarial examples of the test split at every budget, on Beam."""
    params = context.params
    assert isinstance(params, CraftParams)
    examples, model = context.input("examples"), context.input("model")
    spec = ExamplesSpec.read(examples)
    shards = shard_uris(examples, spec, Split.TEST)
    output = context.outputs["adversarial"]
    # Every image uses the whole budget: the source errs earlier than the models that the images are handed to.
    crafting = [
        Crafting(params.name, params.attack, threat, params.batch_size, params.seed, model.fingerprint, False)
        for threat in params.epsilons
    ]
    units = [
        (uri, made, storage.join(output, adversarial_name(made.name, made.threat, index, len(shards))))
        for index, uri in enumerate(shards)
        for made in crafting
    ]
    images = None if params.images is None else share_of(params.images, len(shards))
    with watch_files(context.progress, "craft", output, ".tfrecord", len(units)), context.beam.pipeline() as root:
        _ = (
            root
            | "Units" >> beam.Create(units)
            | "Spread" >> beam.Reshuffle()
            | "Craft" >> beam.ParDo(CraftUnit(model, params.gradient_precision, images, spec.task))
        )


class CraftUnit(beam.DoFn):
    """Attacks the first images of a shard at one budget; a unit whose file is there is finished."""

    def __init__(self, model: Artifact, precision: Precision, images: int | None, task: Task) -> None:
        self._model, self._precision, self._images, self._task = model, precision, images, task

    def process(self, unit: tuple[str, Crafting, str]) -> Iterator[None]:
        """Read a shard and write its adversarial images."""
        source, crafting, uri = unit
        if not storage.exists(uri):
            write_records(uri, self._records(source, crafting))
        yield from ()

    def _records(self, source: str, crafting: Crafting) -> Iterator[bytes]:
        target = target_of(self._model, self._precision)
        for batch in read_shard(source, self._task):
            part = batch if self._images is None else batch.first(self._images)
            if len(part.labels):
                yield from crafting.records(part, crafting.craft(target, part))
