"""Executor of augment: map each shard of training images to one shard of adversarial images."""

from __future__ import annotations

from collections.abc import Iterator

import apache_beam as beam

from dermrobust.attacks.target import Precision
from dermrobust.components import storage
from dermrobust.components.adversarial_shard import Crafting, write_records
from dermrobust.components.adversarial_spec import SPEC, AdversarialSpec
from dermrobust.components.artifacts import Artifact
from dermrobust.components.augment.component import AugmentParams
from dermrobust.components.component import Context
from dermrobust.components.examples import ExamplesSpec, Split, read_shard, shard_name, shard_uris
from dermrobust.components.model_files import load_target
from dermrobust.components.progress import watch_files
from dermrobust.models.task import Task


def run(context: Context) -> None:
    """Attack the training split on Beam and describe the result in `adversarial.json`."""
    params = context.params
    assert isinstance(params, AugmentParams)
    examples, model = context.input("examples"), context.input("model")
    spec = ExamplesSpec.read(examples)
    shards = shard_uris(examples, spec, Split.TRAIN)
    output = context.outputs["adversarial"]
    name = params.attack.name
    crafting = Crafting(
        name=name,
        attack=params.attack,
        threat=params.epsilon,
        batch_size=params.batch_size,
        seed=params.seed,
        source_model=model.fingerprint,
        # Training gains from images that use the whole budget, not from the nearest ones that fool the model.
        stop_at_success=False,
    )
    elements = [
        (uri, storage.join(output, shard_name(Split.TRAIN, index, len(shards)))) for index, uri in enumerate(shards)
    ]
    with (
        watch_files(context.progress, f"augment {name}", output, ".tfrecord", len(shards)),
        context.beam.pipeline() as root,
    ):
        (
            root
            | "Shards" >> beam.Create(elements)
            | "Spread" >> beam.Reshuffle()
            | "Attack" >> beam.ParDo(AttackShard(model, crafting, params.gradient_precision, spec.task))
        )
    described = AdversarialSpec(
        split=Split.TRAIN,
        shards=len(shards),
        count=spec.counts[Split.TRAIN],
        attack=params.attack.model_dump(mode="json"),
        threat=params.epsilon,
        source_model=model.fingerprint,
    )
    storage.write_bytes(storage.join(output, SPEC), described.model_dump_json(indent=1).encode())


class AttackShard(beam.DoFn):
    """Attack one shard.

    Batches are cut within a shard, so neither the number of workers nor a retry changes a pixel.
    """

    def __init__(self, model: Artifact, crafting: Crafting, precision: Precision, task: Task) -> None:
        """Attack a model with gradients of a precision; records have the features of the task."""
        self._model, self._crafting, self._precision, self._task = model, crafting, precision, task

    def process(self, element: tuple[str, str]) -> Iterator[None]:
        """Write the second shard from the first, unless an interrupted execution has."""
        source, target_uri = element
        if not storage.exists(target_uri):
            write_records(target_uri, self._records(source))
        yield from ()

    def _records(self, source: str) -> Iterator[bytes]:
        target = load_target(self._model.uri, self._model.digest, self._precision)
        for batch in read_shard(source, self._task):
            yield from self._crafting.records(batch, self._crafting.craft(target, batch))
