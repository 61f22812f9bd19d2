"""Executor of predict: units of work are (shard, attack, budget), and (shard, clean images).

One unit of an attack that minimizes the perturbation is for all budgets.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dermrobust.attacks.attack import Attack
from dermrobust.attacks.engine import fit_universal, record_seeds, to_images
from dermrobust.attacks.logits import logits_of
from dermrobust.attacks.minimizing import Minimizing
from dermrobust.attacks.problem import Labels
from dermrobust.attacks.threat import Pixels, ThreatModel
from dermrobust.attacks.universal import FixedPerturbation, Universal
from dermrobust.components import storage
from dermrobust.components.adversarial_shard import Crafting, write_records
from dermrobust.components.artifacts import Artifact
from dermrobust.components.attack_targets import Attacked, classifier_of
from dermrobust.components.component import Context
from dermrobust.components.evaluation.names import CLEAN
from dermrobust.components.evaluation.params import PredictParams
from dermrobust.components.evaluation.predictions import (
    ADVERSARIAL,
    PREDICTIONS,
    adversarial_name,
    folder_name,
    predictions_table,
)
from dermrobust.components.examples import (
    Batch,
    ExamplesSpec,
    Split,
    first_records,
    read_images,
    read_shard,
    shard_uris,
)
from dermrobust.components.scoring import evaluations_for, scored
from dermrobust.components.slices.derive import derived_features
from dermrobust.components.units import Unit, run_units
from dermrobust.models.task import IMAGE_ID, Task


def run(context: Context) -> None:
    """Attack and score the test split on Beam; write predictions and the adversarial images they were made on."""
    params = context.params
    assert isinstance(params, PredictParams)
    examples, model = context.input("examples"), context.input("model")
    spec = ExamplesSpec.read(examples)
    shards = shard_uris(examples, spec, Split.TEST)
    output = context.outputs["predictions"]
    crafting = [
        Crafting(name, attack, threat, params.batch_size, params.seed, model.fingerprint, stop)
        for name, attack in params.attacks.items()
        for threat in _attacked_at(attack, params.epsilons)
        # Whoever looks for the nearest misclassified image does not stop at the first.
        for stop in (params.stop_at_success and not isinstance(attack, Minimizing),)
    ]
    predictor = Predictor(
        attacked=Attacked.of(context, params),
        crafting=tuple(crafting),
        threats=params.epsilons,
        transferred=dict(zip(params.transferred, context.inputs.get("transferred", ()), strict=True)),
        output=output,
        task=spec.task,
        slices=params.slices,
    )
    # Place 0 is that of clean images; those of attacks and budgets follow in their order.
    units = [
        Unit(uri, index, len(shards), PREDICTIONS, place)
        for index, uri in enumerate(shards)
        for place in range(1 + len(crafting))
    ]
    universal = [place for place, made in enumerate(crafting) if isinstance(made.attack, Universal)]
    training = shard_uris(examples, spec, Split.TRAIN)

    def found(root: beam.Pipeline) -> Any:
        fitted = root | "Universal attacks" >> beam.Create(universal)
        return beam.pvalue.AsDict(fitted | "Find perturbations" >> beam.ParDo(FindPerturbation(predictor, training)))

    run_units(context.beam, context.progress, output, units, predictor, found)


@dataclass(frozen=True)
class Predictor:
    """Attacks and scores the images of a unit; what is done is the same for all units.

    What is scored is what is stored: 8-bit images inside the budget, by the network as it will be exported.

    Attributes:
        attacked: the model and its surrogates.
        crafting: attacks and budgets, in the order of the results.
        threats: all budgets.
        transferred: adversarial examples that were crafted on another model, by the name of the attack.
        output: URI of the artifact.
        task: the classification problem.
        slices: names of the slice features that are derived from the pixels.
    """

    attacked: Attacked
    crafting: tuple[Crafting, ...]
    threats: tuple[ThreatModel, ...]
    transferred: Mapping[str, Artifact]
    output: str
    task: Task
    slices: tuple[str, ...]

    def __call__(self, unit: Unit, found: Mapping[int, Crafting]) -> pa.Table:
        """Write the unit's adversarial images and return its predictions.

        Args:
            unit: a shard, under one attack and budget or none.
            found: attacks that had to be fitted first, by their index among those of the parameters.
        """
        crafting = None if unit.place == 0 else found.get(unit.place - 1, self.crafting[unit.place - 1])
        rows: list[dict[str, Any]] = []
        crafted = [] if crafting is None else self._budgets(crafting)
        records: list[list[bytes]] = [[] for _ in crafted]
        for batch in read_shard(unit.source, self.task):
            if crafting is None:
                rows += self._rows(batch, batch.pixels, None)
                continue
            adversarial = self._adversarial(unit, crafting, batch)
            for stored, one in zip(records, crafted, strict=True):
                pixels = adversarial
                if one.threat != crafting.threat:
                    # What is farther than this budget is not within the attacker's reach: the image stays as it is.
                    inside = one.threat.contains(adversarial, batch.pixels)
                    pixels = np.where(inside[:, None, None, None], adversarial, batch.pixels)
                stored += one.records(batch, pixels)
                rows += self._rows(batch, pixels, one)
        # Before the table, which marks the unit as finished.
        for stored, one in zip(records, crafted, strict=True):
            name = adversarial_name(one.name, one.threat, unit.shard, unit.shards)
            write_records(storage.join(self.output, name), stored)
        return predictions_table(rows, self.task, self.slices)

    def _budgets(self, crafting: Crafting) -> list[Crafting]:
        """Return the crafting at each of the budgets that its images are results for."""
        if not isinstance(crafting.attack, Minimizing):
            return [crafting]
        return [dataclasses.replace(crafting, threat=threat) for threat in self.threats]

    def _adversarial(self, unit: Unit, crafting: Crafting, batch: Batch) -> Pixels:
        artifact = self.transferred.get(crafting.name)
        target = self.attacked.target()
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
        attacked = self.attacked
        classifier, evaluations = classifier_of(attacked.model), evaluations_for(made.attack for made in self.crafting)
        probabilities = scored(classifier, pixels, batch.labels, attacked.batch_size, evaluations)
        derived = derived_features(self.slices, batch.pixels)
        radii = _radii(crafting, pixels, batch, probabilities.argmax(axis=1))
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
                "radius": radii[index],
            }
            for index, scores in enumerate(probabilities)
        ]


def _attacked_at(attack: Attack, threats: Sequence[ThreatModel]) -> Sequence[ThreatModel]:
    """Return the budgets at which an attack runs: only the largest, if it finds the smallest perturbations in it."""
    return [max(threats, key=lambda threat: threat.epsilon)] if isinstance(attack, Minimizing) else threats


def _radii(crafting: Crafting | None, pixels: Pixels, batch: Batch, predicted: Labels) -> list[float | None]:
    """Return the radius of each image in 1/255, at most the budget; None under attacks that do not minimize it."""
    if crafting is None or not isinstance(crafting.attack, Minimizing):
        return [None] * len(pixels)
    # The distance of levels is in 1/255, whatever the range of the images.
    distance = crafting.threat.distance(pixels.astype(np.float32), batch.pixels.astype(np.float32))
    return [float(value) for value in np.where(predicted != batch.labels, distance, crafting.threat.epsilon)]


class FindPerturbation(beam.DoFn):
    """Finds a universal perturbation on training images, since the attacker has not seen the test images."""

    def __init__(self, predictor: Predictor, shards: Sequence[str]) -> None:
        self._predictor, self._shards = predictor, list(shards)

    def process(self, place: int) -> Iterator[tuple[int, Crafting]]:
        """Yield the crafting at `place` with its perturbation fixed."""
        crafting = self._predictor.crafting[place]
        name = f"{folder_name(crafting.name, crafting.threat)}.npy"
        uri = storage.join(self._predictor.output, ADVERSARIAL, name)
        if not storage.exists(uri):
            content = io.BytesIO()
            np.save(content, self._fit(crafting).perturbation, allow_pickle=False)
            storage.write_bytes(uri, content.getvalue())
        perturbation = np.load(io.BytesIO(storage.read_bytes(uri)), allow_pickle=False)
        yield place, dataclasses.replace(crafting, attack=FixedPerturbation(perturbation=perturbation))

    def _fit(self, crafting: Crafting) -> FixedPerturbation:
        assert isinstance(crafting.attack, Universal)
        batch = first_records(self._shards, crafting.attack.images, self._predictor.task)
        ids, seed = batch.columns[IMAGE_ID], crafting.seed
        seeds = record_seeds(ids, attack=crafting.name, threat=crafting.threat, seed=seed)
        return fit_universal(
            crafting.attack,
            self._predictor.attacked.target(),
            batch.pixels,
            batch.labels,
            seeds,
            threat=crafting.threat,
            batch_size=crafting.batch_size,
        )
