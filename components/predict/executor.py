"""Executor of predict: units of work are (shard, attack, budget), and (shard, clean images)."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dermrobust.attacks.engine import fit_universal, record_seeds, to_images
from dermrobust.attacks.logits import logits_of
from dermrobust.attacks.threat import Pixels
from dermrobust.attacks.universal import Universal
from dermrobust.components import storage
from dermrobust.components.adversarial_shard import Crafting, write_records
from dermrobust.components.artifacts import Artifact
from dermrobust.components.attack_targets import Attacked, classifier_of, probabilities_of
from dermrobust.components.component import Context
from dermrobust.components.evaluation.params import PredictParams
from dermrobust.components.evaluation.predictions import (
    ADVERSARIAL,
    PREDICTIONS,
    adversarial_name,
    folder_name,
    part_name,
    predictions_table,
)
from dermrobust.components.evaluation.tables import read_tables, write_table
from dermrobust.components.evaluation.thresholds import CLEAN
from dermrobust.components.examples import (
    Batch,
    ExamplesSpec,
    Split,
    first_records,
    read_images,
    read_shard,
    shard_uris,
)
from dermrobust.components.progress import watch_files
from dermrobust.components.slices.derive import derived_features
from dermrobust.models.task import IMAGE_ID, Task

_UNITS = "units"
"""Folder of the finished units' tables; it is gone when the artifact is published."""


@dataclass(frozen=True)
class Unit:
    """Images of one shard under one attack at one budget.

    Attributes:
        source: URI of the shard of clean images.
        shard: index of the shard.
        shards: number of shards.
        place: index of the attack and budget among those of the parameters; -1 for clean images.
    """

    source: str
    shard: int
    shards: int
    place: int

    @property
    def table(self) -> str:
        """Path of the unit's predictions in the artifact; the file is written last, so it marks a finished unit."""
        return f"{_UNITS}/{self.shard:05d}/{self.place + 1:04d}.parquet"


def run(context: Context) -> None:
    """Attack and score the test split on Beam; write predictions and the adversarial images they were made on."""
    params = context.params
    assert isinstance(params, PredictParams)
    examples, model = context.input("examples"), context.input("model")
    spec = ExamplesSpec.read(examples)
    shards = shard_uris(examples, spec, Split.TEST)
    output = context.outputs["predictions"]
    crafting = [
        Crafting(name, attack, threat, params.batch_size, params.seed, model.fingerprint, params.stop_at_success)
        for name, attack in params.attacks.items()
        for threat in params.epsilons
    ]
    work = Work(
        attacked=Attacked.of(context, params),
        crafting=tuple(crafting),
        transferred=dict(zip(params.transferred, context.inputs.get("transferred", ()), strict=True)),
        output=output,
        task=spec.task,
        slices=params.slices,
    )
    units = [
        Unit(uri, index, len(shards), place) for index, uri in enumerate(shards) for place in range(-1, len(crafting))
    ]
    universal = [place for place, made in enumerate(crafting) if isinstance(made.attack, Universal)]
    training = shard_uris(examples, spec, Split.TRAIN)
    folder = storage.join(output, _UNITS)
    with watch_files(context.progress, "evaluate", folder, ".parquet", len(units)), context.beam.pipeline() as root:
        found = (
            root
            | "Universal attacks" >> beam.Create(universal)
            | "Find perturbations" >> beam.ParDo(FindPerturbation(work, training))
        )
        _ = (
            root
            | "Units" >> beam.Create(units)
            | "Spread" >> beam.Reshuffle()
            | "Predict" >> beam.ParDo(PredictUnit(work), beam.pvalue.AsDict(found))
            | "By shard" >> beam.GroupByKey()
            | "Merge" >> beam.ParDo(MergeShard(output))
        )
    storage.remove(folder)


@dataclass(frozen=True)
class Work:
    """What is done to a model, the same for all units.

    Attributes:
        attacked: the model and its surrogates.
        crafting: attacks and budgets, in the order of the results.
        transferred: adversarial examples that were crafted on another model, by the name of the attack.
        output: URI of the artifact.
        task: the classification problem.
        slices: names of the slice features that are derived from the pixels.
    """

    attacked: Attacked
    crafting: tuple[Crafting, ...]
    transferred: Mapping[str, Artifact]
    output: str
    task: Task
    slices: tuple[str, ...]


class FindPerturbation(beam.DoFn):
    """Finds a universal perturbation on training images, since the attacker has not seen the test images."""

    def __init__(self, work: Work, shards: Sequence[str]) -> None:
        self._work, self._shards = work, list(shards)

    def process(self, place: int) -> Iterator[tuple[int, Crafting]]:
        """Yield the crafting at `place` with its perturbation fixed."""
        crafting = self._work.crafting[place]
        assert isinstance(crafting.attack, Universal)
        batch = first_records(self._shards, crafting.attack.images, self._work.task)
        ids, seed = batch.columns[IMAGE_ID], crafting.seed
        seeds = record_seeds(ids, attack=crafting.name, threat=crafting.threat, seed=seed)
        fixed = fit_universal(
            crafting.attack,
            self._work.attacked.target(),
            batch.pixels,
            batch.labels,
            seeds,
            threat=crafting.threat,
            batch_size=crafting.batch_size,
        )
        content = io.BytesIO()
        np.save(content, fixed.perturbation, allow_pickle=False)
        name = f"{folder_name(crafting.name, crafting.threat)}.npy"
        storage.write_bytes(storage.join(self._work.output, ADVERSARIAL, name), content.getvalue())
        yield place, dataclasses.replace(crafting, attack=fixed)


class PredictUnit(beam.DoFn):
    """Attacks and scores the images of one unit.

    What is scored is what is stored: 8-bit images inside the budget, by the network as it will be exported.
    """

    def __init__(self, work: Work) -> None:
        self._work = work

    def process(self, unit: Unit, found: Mapping[int, Crafting]) -> Iterator[tuple[int, Unit]]:
        """Write the unit's files, unless an interrupted execution has; yield (shard, unit).

        Args:
            unit: what to do.
            found: attacks that had to be fitted first, by their place.
        """
        uri = storage.join(self._work.output, unit.table)
        if not storage.exists(uri):
            write_table(uri, self._predictions(unit, found))
        yield unit.shard, unit

    def _predictions(self, unit: Unit, found: Mapping[int, Crafting]) -> pa.Table:
        work, crafting = self._work, None
        if unit.place >= 0:
            crafting = found.get(unit.place, work.crafting[unit.place])
        rows: list[dict[str, Any]] = []
        records: list[bytes] = []
        for batch in read_shard(unit.source, work.task):
            pixels = batch.pixels
            if crafting is not None:
                pixels = self._adversarial(unit, crafting, batch)
                records += crafting.records(batch, pixels)
            rows += self._rows(batch, pixels, crafting)
        if crafting is not None:
            name = adversarial_name(crafting.name, crafting.threat, unit.shard, unit.shards)
            write_records(storage.join(work.output, name), records)
        return predictions_table(rows, work.task, work.slices)

    def _adversarial(self, unit: Unit, crafting: Crafting, batch: Batch) -> Pixels:
        artifact = self._work.transferred.get(crafting.name)
        target = self._work.attacked.target()
        if artifact is None:
            return crafting.craft(target, batch)
        name = adversarial_name(crafting.name, crafting.threat, unit.shard, unit.shards)
        ids, crafted, _ = read_images(artifact.path(name))
        if ids != batch.columns[IMAGE_ID]:
            raise ValueError(f"predict: '{artifact.path(name)}' does not hold the images of '{unit.source}'")
        if not crafting.stop_at_success:
            return crafted
        # As for every attack that stops at success: an image on which the model errs anyway stays as it is.
        logits = logits_of(target.exact or target, to_images(batch.pixels), crafting.batch_size)
        wrong: npt.NDArray[np.bool_] = logits.argmax(axis=1) != batch.labels
        return np.where(wrong[:, None, None, None], batch.pixels, crafted)

    def _rows(self, batch: Batch, pixels: Pixels, crafting: Crafting | None) -> list[dict[str, Any]]:
        attacked = self._work.attacked
        logits = logits_of(classifier_of(attacked.model), to_images(pixels), attacked.batch_size)
        derived = derived_features(self._work.slices, batch.pixels)
        return [
            {
                **batch.record(index),
                **{name: values[index] for name, values in derived.items()},
                "model": attacked.model.fingerprint,
                "attack": CLEAN if crafting is None else crafting.name,
                "norm": None if crafting is None else str(crafting.threat.norm),
                "epsilon": 0.0 if crafting is None else crafting.threat.epsilon,
                "probabilities": scores.tolist(),
                "predicted": int(scores.argmax()),
            }
            for index, scores in enumerate(probabilities_of(logits))
        ]


class MergeShard(beam.DoFn):
    """Joins the tables of a shard's units: clean images first, then attacks and budgets in their order."""

    def __init__(self, output: str) -> None:
        self._output = output

    def process(self, element: tuple[int, Iterable[Unit]]) -> Iterator[None]:
        """Write the shard's predictions."""
        units = sorted(element[1], key=lambda unit: unit.place)
        table = read_tables([storage.join(self._output, unit.table) for unit in units])
        name = part_name(units[0].shard, units[0].shards)
        write_table(storage.join(self._output, PREDICTIONS, name), table.combine_chunks())
        yield from ()
