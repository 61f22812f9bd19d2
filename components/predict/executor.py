"""The work of predict: a model's predictions on clean images and on images attacked through its own gradients."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf

from dermrobust.attacks.engine import fit_universal, record_seeds, to_images
from dermrobust.attacks.logits import logits_of
from dermrobust.attacks.universal import Universal
from dermrobust.components import storage
from dermrobust.components.adversarial_shard import Crafting
from dermrobust.components.attack_targets import Attacked, classifier_of, probabilities_of
from dermrobust.components.component import Context
from dermrobust.components.evaluation.params import PredictParams
from dermrobust.components.evaluation.predictions import (
    ADVERSARIAL,
    PREDICTIONS,
    RENAMED,
    folder_name,
    write_predictions,
)
from dermrobust.components.evaluation.thresholds import CLEAN
from dermrobust.components.examples import Batch, ExamplesSpec, Split, first_records, read_shard, shard_name, shard_uris
from dermrobust.components.progress import watch_files
from dermrobust.components.slices.skin_tone import skin_tone, typology_angles
from dermrobust.models.task import Task


def run(context: Context) -> None:
    """Attack and score the test split on Beam; write predictions and the adversarial images that they were made on."""
    params = context.params
    assert isinstance(params, PredictParams)
    examples, model = context.input("examples"), context.input("model")
    spec = ExamplesSpec.read(examples)
    shards = shard_uris(examples, spec, Split.TEST)
    output = context.outputs["predictions"]
    attacked = Attacked.of(context, params)
    crafting = [
        Crafting(name, attack, threat, params.batch_size, params.seed, model.fingerprint, params.stop_at_success)
        for name, attack in params.attacks.items()
        for threat in params.epsilons
    ]
    universal = [index for index, made in enumerate(crafting) if isinstance(made.attack, Universal)]
    elements = [(uri, index, len(shards)) for index, uri in enumerate(shards)]
    with watch_files(context.progress, "evaluate", output, ".parquet", len(shards)), context.beam.pipeline() as root:
        found = (
            root
            | "Universal attacks" >> beam.Create([(index, crafting[index]) for index in universal])
            | "Find perturbations"
            >> beam.ParDo(FindPerturbation(attacked, shard_uris(examples, spec, Split.TRAIN), output, spec.task))
        )
        (
            root
            | "Shards" >> beam.Create(elements)
            | "Spread" >> beam.Reshuffle()
            | "Predict"
            >> beam.ParDo(
                PredictShard(attacked, crafting, output, params.batch_size, spec.task), beam.pvalue.AsDict(found)
            )
        )


class FindPerturbation(beam.DoFn):
    """Finds a universal perturbation on training images, since the attacker has not seen the test images."""

    def __init__(self, attacked: Attacked, shards: Sequence[str], output: str, task: Task) -> None:
        """Use the first images of these shards; write the perturbation below `output`."""
        self._attacked, self._shards, self._output, self._task = attacked, list(shards), output, task

    def process(self, element: tuple[int, Crafting]) -> Iterator[tuple[int, Crafting]]:
        """Yield the crafting with a perturbation that is fixed."""
        index, crafting = element
        assert isinstance(crafting.attack, Universal)
        batch = first_records(self._shards, crafting.attack.images, self._task)
        ids, seed = batch.columns["image/id"], crafting.seed
        seeds = record_seeds(ids, attack=crafting.name, threat=crafting.threat, seed=seed)
        fixed = fit_universal(
            crafting.attack,
            self._attacked.target(),
            batch.pixels,
            batch.labels,
            seeds,
            threat=crafting.threat,
            batch_size=crafting.batch_size,
        )
        content = io.BytesIO()
        np.save(content, fixed.perturbation, allow_pickle=False)
        storage.write_bytes(
            storage.join(self._output, ADVERSARIAL, f"{folder_name(crafting.name, crafting.threat)}.npy"),
            content.getvalue(),
        )
        yield index, dataclasses.replace(crafting, attack=fixed)


class PredictShard(beam.DoFn):
    """Scores one shard of test images under every attack.

    What is scored is what is stored: 8-bit images inside the budget, by the network as it will be exported.
    """

    def __init__(
        self, attacked: Attacked, crafting: Sequence[Crafting], output: str, batch_size: int, task: Task
    ) -> None:
        """Put a model through these attacks; write below `output`."""
        self._attacked, self._crafting, self._output, self._batch_size = attacked, crafting, output, batch_size
        self._task = task

    def process(self, element: tuple[str, int, int], found: Mapping[int, Crafting]) -> Iterator[None]:
        """Write the shard's predictions and adversarial images; `found` has the attacks that first had to be fitted."""
        source, index, count = element
        target = self._attacked.target()
        rows: list[dict[str, Any]] = []
        with contextlib.ExitStack() as stack:
            writers = [stack.enter_context(self._writer(crafting, index, count)) for crafting in self._crafting]
            for batch in read_shard(source, self._task):
                tones = [skin_tone(float(angle)) for angle in typology_angles(batch.pixels)]
                rows += self._rows(batch, tones, batch.pixels, None)
                for place, (crafting, writer) in enumerate(zip(self._crafting, writers, strict=True)):
                    adversarial = found.get(place, crafting).craft(target, batch)
                    for record in crafting.records(batch, adversarial):
                        writer.write(record)
                    rows += self._rows(batch, tones, adversarial, crafting)
        name = f"part-{index:05d}-of-{count:05d}.parquet"
        write_predictions(storage.join(self._output, PREDICTIONS, name), rows)
        yield from ()

    @contextlib.contextmanager
    def _writer(self, crafting: Crafting, index: int, count: int) -> Iterator[Any]:
        uri = storage.join(
            self._output, ADVERSARIAL, folder_name(crafting.name, crafting.threat), shard_name(Split.TEST, index, count)
        )
        with storage.atomic_file(uri) as path, tf.io.TFRecordWriter(path) as writer:
            yield writer

    def _rows(
        self,
        batch: Batch,
        tones: Sequence[str],
        pixels: np.ndarray[Any, np.dtype[np.uint8]],
        crafting: Crafting | None,
    ) -> list[dict[str, Any]]:
        model = self._attacked.model
        probabilities = probabilities_of(logits_of(classifier_of(model), to_images(pixels), self._batch_size))
        return [
            {
                **{RENAMED.get(name, name): value for name, value in batch.record(index).items()},
                "skin_tone": tones[index],
                "model": model.fingerprint,
                "attack": CLEAN if crafting is None else crafting.name,
                "norm": None if crafting is None else str(crafting.threat.norm),
                "epsilon": 0.0 if crafting is None else crafting.threat.epsilon,
                "probabilities": scores.tolist(),
                "predicted": int(scores.argmax()),
            }
            for index, scores in enumerate(probabilities)
        ]
