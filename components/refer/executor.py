"""Executor of refer: units of work are validation shards, then test shards and (shard, rate, block of images)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dermrobust.attacks.attack import Attack
from dermrobust.attacks.engine import attack_pixels, record_seeds
from dermrobust.attacks.errors import UserError
from dermrobust.attacks.selective.rejecting import rejecting_target
from dermrobust.attacks.threat import Pixels, ThreatModel
from dermrobust.components import storage
from dermrobust.components.artifacts import Artifact
from dermrobust.components.attack_targets import classifier_of, plain_target_of
from dermrobust.components.component import Context
from dermrobust.components.evaluation.names import CLEAN
from dermrobust.components.evaluation.predictions import prediction_uris
from dermrobust.components.evaluation.probes import PROBES, probe_uris
from dermrobust.components.evaluation.referral_params import ReferParams
from dermrobust.components.evaluation.referrals import (
    EVADING,
    PROBED,
    REFERRALS,
    REJECTOR,
    SCORES_SCHEMA,
    VALIDATION,
    Flags,
    Rejector,
    judged,
    referrals_table,
)
from dermrobust.components.evaluation.tables import read_columns, read_tables
from dermrobust.components.examples import Batch, ExamplesSpec, Split, read_shard, shard_uris
from dermrobust.components.refer.fitting import fit_rejector
from dermrobust.components.samples import SplitOrder
from dermrobust.components.scoring import scored
from dermrobust.components.units import Unit, run_units
from dermrobust.models.task import IMAGE_ID, Task, column

_BLOCK = 64
"""Images of a unit of the attack: a shard is the work of many workers, and little is lost by an interruption."""

Row = dict[str, Any]


def run(context: Context) -> None:
    """Fit a rejector to the validation split and judge the test split with it, on Beam.

    Raises:
        UserError: there are no validation images.
    """
    params = context.params
    assert isinstance(params, ReferParams)
    examples, model = context.input("examples"), context.input("model")
    output = context.outputs["referrals"]
    spec = ExamplesSpec.read(examples)
    if not spec.counts[Split.VALIDATION]:
        raise UserError(
            "refer: there are no validation images to fit temperature and threshold to; raise the fraction of the "
            "validation split, or remove evaluate.referral.rates"
        )
    scorer = Scorer(model, params.batch_size, spec.task)
    run_units(context.beam, context.progress, output, _units(examples, spec, Split.VALIDATION, VALIDATION, 1), scorer)
    rejector = _fitted(output, params)
    storage.write_bytes(storage.join(output, REJECTOR), rejector.model_dump_json(indent=1).encode())
    uris = prediction_uris(context.input("predictions"))
    order = SplitOrder.of(spec, Split.TEST)
    largest = max(order.size(index, params.images) for index in range(len(uris)))
    # A block beyond the end of a shard's part of the sample is empty.
    places = tuple(itertools.product(params.rates, range(0, largest, _BLOCK)))
    judge = Judge(
        model=model,
        params=params,
        rejector=rejector,
        order=order,
        places=places,
        predictions=tuple(uris),
        probes=tuple(
            tuple(probe_uris(artifact, PROBES)) for name in ("probes", "escalated") for artifact in context.inputs[name]
        ),
        task=spec.task.with_malignant(params.malignant),
    )
    # Place 0 is that of the evaluated attacks.
    run_units(
        context.beam, context.progress, output, _units(examples, spec, Split.TEST, REFERRALS, 1 + len(places)), judge
    )


def _units(examples: Artifact, spec: ExamplesSpec, split: Split, folder: str, places: int) -> list[Unit]:
    shards = shard_uris(examples, spec, split)
    return [Unit(uri, at, len(shards), folder, place) for at, uri in enumerate(shards) for place in range(places)]


def _fitted(output: str, params: ReferParams) -> Rejector:
    uris = [
        storage.join(output, VALIDATION, name)
        for name in storage.list_files(storage.join(output, VALIDATION))
        if name.endswith(".parquet")
    ]
    scores = read_tables(uris)
    return fit_rejector(_probabilities(scores), scores["label"].to_numpy(), params.rates)


def _probabilities(table: pa.Table) -> npt.NDArray[np.float32]:
    values = np.asarray(pc.list_flatten(table["probabilities"].combine_chunks()), np.float32)
    return values.reshape(table.num_rows, -1)


@dataclass(frozen=True)
class Scorer:
    """Scores the validation images of a unit.

    Attributes:
        model: the model artifact.
        batch_size: images per forward pass.
        task: the classification problem.
    """

    model: Artifact
    batch_size: int
    task: Task

    def __call__(self, unit: Unit) -> pa.Table:
        """Return ids, labels and probabilities."""
        rows: list[Row] = []
        for batch in read_shard(unit.source, self.task):
            found = scored(classifier_of(self.model), batch.pixels, batch.labels, self.batch_size, 1)
            ids = batch.columns[IMAGE_ID]
            rows += [
                {"image_id": name, "label": int(label), "probabilities": scores.tolist()}
                for name, label, scores in zip(ids, batch.labels, found, strict=True)
            ]
        return pa.Table.from_pylist(rows, schema=SCORES_SCHEMA)


@dataclass(frozen=True)
class Judge:
    """Judges the test images of a unit: under the evaluated attacks, or under one that knows of the rejector.

    Attributes:
        model: the model artifact.
        params: parameters of the component.
        rejector: the rejector.
        order: order of the test images, of which a sample is judged.
        places: rate, and number of the first image of a shard's part of the sample, in the order of the results.
        predictions: URIs of the model's predictions, shard by shard.
        probes: URIs of its probes and of escalated attacks, shard by shard each.
        task: the classification problem.
    """

    model: Artifact
    params: ReferParams
    rejector: Rejector
    order: SplitOrder
    places: tuple[tuple[float, int], ...]
    predictions: tuple[str, ...]
    probes: tuple[tuple[str, ...], ...]
    task: Task

    def __call__(self, unit: Unit) -> pa.Table:
        """Return the unit's table; it is empty where the shard has no images."""
        evaluated = list(self._evaluated(unit.shard))
        if unit.place == 0:
            return referrals_table(evaluated, self.task, self.params.slices)
        rate, start = self.places[unit.place - 1]
        rows: list[Row] = []
        for batch in read_shard(unit.source, self.task):
            part = self.order.sample(unit.shard, batch, self.params.images)
            places = np.arange(len(part.labels))
            if start < len(places):
                rows += self._attacked(part.chosen((places >= start) & (places < start + _BLOCK)), rate, evaluated)
        return referrals_table(rows, self.task, self.params.slices)

    @property
    def _malignant(self) -> Flags:
        return np.isin(np.arange(len(self.task.class_names)), self.task.indices(self.task.malignant))

    def _evaluated(self, shard: int) -> Iterator[Row]:
        """Yield rows of what the evaluation has tried: clean images, attacks, probes and escalated attacks."""
        features = [column(name) for name in self.task.record_features]
        names = [*dict.fromkeys([*features, *self.params.slices, "image_id", "label"]), "attack", "epsilon"]
        table = read_columns(self.predictions[shard], [*names, "probabilities"])
        if not table.num_rows:
            return
        # Clean images stand in the order of the shard.
        clean = table.filter(pc.equal(table["attack"], CLEAN))
        clean = clean.filter(pa.array(self.order.flags(shard, self.params.images)))
        table = table.filter(pc.is_in(table["image_id"], value_set=clean["image_id"].combine_chunks()))
        yield from self._judged(table.select(names).to_pylist(), _probabilities(table))
        records = {row["image_id"]: row for row in clean.select(names).to_pylist()}
        for uris in self.probes:
            probes = read_columns(uris[shard], ["image_id", "epsilon", "probabilities"])
            # Images that were not tried have no probabilities.
            known = pc.is_in(probes["image_id"], value_set=clean["image_id"].combine_chunks())
            probes = probes.filter(pc.and_(known, pc.is_valid(probes["probabilities"])))
            tried = [
                {**records[name], "attack": PROBED, "epsilon": epsilon}
                for name, epsilon in zip(probes["image_id"].to_pylist(), probes["epsilon"].to_pylist(), strict=True)
            ]
            if tried:
                yield from self._judged(tried, _probabilities(probes))

    def _judged(self, records: list[Row], probabilities: npt.NDArray[np.float32]) -> Iterator[Row]:
        """Yield rows of records, each with its answer: probabilities float32 [count, class_count]."""
        labels = np.asarray([record["label"] for record in records], np.int64)
        found = judged(probabilities, labels, self._malignant, self.rejector.temperature)
        for index, record in enumerate(records):
            values = {name: float(column_[index]) for name, column_ in found.items()}
            yield {**record, **values, "model": self.model.fingerprint}

    def _attacked(self, batch: Batch, rate: float, evaluated: list[Row]) -> Iterator[Row]:
        """Yield rows of images that were attacked at a rate; what falls at a budget falls at larger ones.

        Images of malignant classes are first moved towards benign classes, until they are missed; then, as all others,
        towards any wrong class, until they are lost.
        """
        threshold = self.rejector.at(rate).threshold
        ids, labels = batch.columns[IMAGE_ID], batch.labels
        place = {name: index for index, name in enumerate(ids)}
        clean = {row["image_id"]: row for row in evaluated if row["attack"] == CLEAN}
        found: dict[int, Row] = {}
        benign = tuple(np.flatnonzero(~self._malignant).tolist())
        for threat in sorted(self.params.epsilons, key=lambda threat: threat.epsilon):
            rows = [row for row in evaluated if row["attack"] == CLEAN or _same(row["epsilon"], threat.epsilon)]
            missed = _accepted(rows, "missed", threshold, place)
            lost = _accepted(rows, "wrong", threshold, place)
            for classes in (benign, None):
                for row in found.values():
                    missed[place[row["image_id"]]] |= row["missed"] >= threshold
                    lost[place[row["image_id"]]] |= row["wrong"] >= threshold
                standing = ~lost if classes is None else self._malignant[labels] & ~missed
                if not standing.any() or classes == ():
                    continue
                tried = batch.chosen(standing)
                attack = self.params.attack.model_copy(update={"classes": classes})
                moved = self._moved(tried, attack, threshold, threat, "any" if classes is None else "benign")
                scores = scored(classifier_of(self.model), moved, tried.labels, self.params.batch_size, 1)
                records = [{**clean[name], "attack": EVADING} for name in tried.columns[IMAGE_ID]]
                for row in self._judged(records, scores):
                    at = place[row["image_id"]]
                    # The worse of two results: missed, else lost, else the first.
                    if at not in found or _danger(row, threshold) > _danger(found[at], threshold):
                        found[at] = row
            yield from ({**row, "epsilon": threat.epsilon} for row in found.values())

    def _moved(self, tried: Batch, attack: Attack, threshold: float, threat: ThreatModel, aim: str) -> Pixels:
        """Return the stored images of the attack."""
        params, ids = self.params, tried.columns[IMAGE_ID]
        # In float32: confidence near the threshold decides.
        target = rejecting_target(
            plain_target_of(self.model, "float32"), temperature=self.rejector.temperature, threshold=threshold
        )
        seeds = record_seeds(ids, attack=f"{EVADING}/{aim}", threat=threat, seed=params.seed)
        # The engine would take a referred image for a success; the attack itself stops at its own.
        return attack_pixels(
            attack, target, tried.pixels, tried.labels, seeds, threat=threat, batch_size=params.batch_size
        )


def _accepted(rows: Iterable[Row], name: str, threshold: float, place: Mapping[str, int]) -> Flags:
    """Return which images of a block have an answer whose `name`, "wrong" or "missed", is not below the threshold."""
    flags = np.zeros(len(place), np.bool_)
    for row in rows:
        # NaN, where there is none, is not at or above it.
        if row["image_id"] in place and row[name] >= threshold:
            flags[place[row["image_id"]]] = True
    return flags


def _danger(row: Row, threshold: float) -> int:
    return int(row["wrong"] >= threshold) + 2 * int(row["missed"] >= threshold)


def _same(epsilon: float, other: float) -> bool:
    return abs(epsilon - other) < 1e-5
