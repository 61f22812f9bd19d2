"""The work of probe: what a model's figures must withstand, on some of the test images.

Stronger and other attacks on what still stands, the network's gradients and determinism, and natural corruptions.
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
import pyarrow.parquet as pq

from dermrobust.attacks.attack import Attack
from dermrobust.attacks.cleverhans.pgd import PGD
from dermrobust.attacks.cleverhans.spsa import SPSA
from dermrobust.attacks.engine import to_images
from dermrobust.attacks.logits import logits_of
from dermrobust.attacks.noise import Noise
from dermrobust.attacks.square import Square
from dermrobust.attacks.target import Target
from dermrobust.attacks.threat import Norm, ThreatModel
from dermrobust.attacks.transfer import Transfer
from dermrobust.components import storage
from dermrobust.components.adversarial_shard import Crafting
from dermrobust.components.attack_targets import Attacked, classifier_of, has_only_probabilities, probabilities_of
from dermrobust.components.component import Context
from dermrobust.components.corruptions.natural import CORRUPTIONS, SEVERITIES, corrupt
from dermrobust.components.evaluation.attack_kinds import WHITE_BOX, Kind, kind_of, named
from dermrobust.components.evaluation.params import ProbeParams
from dermrobust.components.evaluation.predictions import prediction_uris
from dermrobust.components.evaluation.probes import (
    CORRUPTED,
    CORRUPTED_SCHEMA,
    HEALTH,
    HEALTH_SCHEMA,
    LARGE,
    MORE_RESTARTS,
    MORE_STEPS,
    PROBES,
    PROBES_SCHEMA,
)
from dermrobust.components.evaluation.tables import read_columns
from dermrobust.components.evaluation.thresholds import CLEAN
from dermrobust.components.examples import Batch, ExamplesSpec, Split, read_shard, shard_uris
from dermrobust.components.probe.health import examine
from dermrobust.components.progress import watch_files
from dermrobust.models.task import Task

Flags = npt.NDArray[np.bool_]
Rows = list[dict[str, Any]]


def run(context: Context) -> None:
    """Probe a model on the first images of each shard of the test split, on Beam."""
    params = context.params
    assert isinstance(params, ProbeParams)
    examples = context.input("examples")
    spec = ExamplesSpec.read(examples)
    shards = shard_uris(examples, spec, Split.TEST)
    output = context.outputs["probes"]
    attacked = Attacked.of(context, params)
    probe = ProbeShard(attacked, params, len(shards), output, spec.task)
    predictions = prediction_uris(context.input("predictions"))
    elements = [(uri, predicted, index) for index, (uri, predicted) in enumerate(zip(shards, predictions, strict=True))]
    files = 3 * len(shards)
    with watch_files(context.progress, "evaluate", output, ".parquet", files), context.beam.pipeline() as root:
        _ = root | "Shards" >> beam.Create(elements) | "Spread" >> beam.Reshuffle() | "Probe" >> beam.ParDo(probe)


@dataclass(frozen=True)
class _Probe:
    """An attack that a claim of robustness must withstand.

    Attributes:
        name: what it is.
        crafting: the attack and its budget.
        against: names of the evaluated attacks that an image must have withstood to be tried.
        images: how many at most.
    """

    name: str
    crafting: Crafting
    against: tuple[str, ...]
    images: int


def large_budget(norm: Norm, values: int) -> ThreatModel:
    """Return a budget under which no image is recognisable: a quarter of the range in each of an image's values."""
    level = 64.0
    return ThreatModel(level if norm is Norm.LINF else level * float(np.sqrt(values)), norm)


class ProbeShard(beam.DoFn):
    """Probes a model on the first images of a shard.

    Args:
        attacked: The model, and the others that an attacker has.
        params: What it is put through.
        shard_count: Among how many shards the images are divided.
        output: Folder for the results.
        task: Task of the records.
    """

    def __init__(self, attacked: Attacked, params: ProbeParams, shard_count: int, output: str, task: Task) -> None:
        self._attacked, self._params, self._shard_count, self._output = attacked, params, shard_count, output
        self._task = task

    def process(self, element: tuple[str, str, int]) -> Iterator[None]:
        """Write what was found on a shard; the files are empty where it has no images."""
        source, predictions, index = element
        model, params = self._attacked.model, self._params
        target, classifier = self._attacked.target(), classifier_of(model)
        probes: Rows = []
        health: Rows = []
        corrupted: Rows = []
        for batch in read_shard(source, self._task):
            known = _Known.read(predictions, batch.columns["image/id"])
            part = batch.first(self._share(params.images))
            if len(part.labels):
                probes += self._probe(target, classifier, part, known)
                health += self._examine(classifier, part)
            corrupted += self._corrupt(classifier, batch.first(self._share(params.corruption_images)))
        name = f"part-{index:05d}-of-{self._shard_count:05d}.parquet"
        for folder, rows, schema in (
            (PROBES, probes, PROBES_SCHEMA),
            (HEALTH, health, HEALTH_SCHEMA),
            (CORRUPTED, corrupted, CORRUPTED_SCHEMA),
        ):
            sink = io.BytesIO()
            pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink)
            storage.write_bytes(storage.join(self._output, folder, name), sink.getvalue())
        yield from ()

    def _share(self, images: int) -> int:
        return -(-images // self._shard_count)

    def _probe(self, target: Target, classifier: Target, batch: Batch, known: _Known) -> Rows:
        rows: Rows = []
        for probe in self._probes(batch.pixels[0].size):
            part = batch.first(probe.images)
            epsilon = probe.crafting.threat.epsilon
            standing = known.standing(part, probe.against, epsilon)
            chosen = _taken(part, standing)
            pixels = probe.crafting.craft(target, chosen) if standing.any() else chosen.pixels
            scores = iter(self._scores(classifier, pixels))
            for place in range(len(part.labels)):
                found = next(scores) if standing[place] else None
                rows.append(
                    {
                        "image_id": part.columns["image/id"][place],
                        "label": int(part.labels[place]),
                        "epsilon": epsilon,
                        "probe": probe.name,
                        "attack": probe.crafting.name,
                        "stood": bool(standing[place]),
                        "probabilities": None if found is None else found.tolist(),
                        "predicted": None if found is None else int(found.argmax()),
                    }
                )
        return rows

    def _probes(self, values: int) -> Iterator[_Probe]:
        """Yield what images of so many values are put through."""
        params = self._params
        share = self._share(params.images)
        white_box = tuple(named(params.attacks, *WHITE_BOX))
        for threat in params.epsilons:
            evaluated: dict[str, Attack] = dict(params.attacks)
            for name, attack in evaluated.items():
                if kind_of(attack) is Kind.ITERATIVE and "steps" in type(attack).model_fields:
                    more = attack.model_copy(update={"steps": 2 * int(attack.model_dump()["steps"])})
                    yield _Probe(MORE_STEPS, self._crafting(name, more, threat), white_box, share)
                    again = dataclasses.replace(self._crafting(name, attack, threat), seed=params.seed + 1)
                    yield _Probe(MORE_RESTARTS, again, white_box, share)
            others: dict[str, Attack] = {"noise": Noise(draws=params.noise_draws)}
            if threat.norm is Norm.LINF and params.queries:
                others["square"] = Square(queries=params.queries)
            for source in params.surrogates:
                others[f"transfer from {source}"] = Transfer(source=source, crafted_with=PGD(steps=20))
            for name, attack in others.items():
                yield _Probe(str(kind_of(attack)), self._crafting(name, attack, threat), white_box, share)
            if threat.norm is Norm.LINF and params.spsa_images:
                spsa = self._crafting("spsa", SPSA(steps=20, samples=64), threat)
                yield _Probe(str(Kind.BLACK_BOX), spsa, white_box, self._share(params.spsa_images))
        # A model without gradients is only evaluated with attacks that need none.
        large: Attack = PGD(steps=20) if white_box else Square(queries=max(1, params.queries))
        budget = large_budget(params.epsilons[0].norm, values)
        yield _Probe(LARGE, self._crafting(large.name, large, budget), (), share)

    def _crafting(self, name: str, attack: Attack, threat: ThreatModel) -> Crafting:
        params = self._params
        return Crafting(name, attack, threat, params.batch_size, params.seed, self._attacked.model.fingerprint, True)

    def _examine(self, classifier: Target, batch: Batch) -> Rows:
        found = examine(classifier, to_images(batch.pixels), batch.labels, self._params.batch_size)
        columns = {field.name: getattr(found, field.name).tolist() for field in dataclasses.fields(found)}
        ids = batch.columns["image/id"]
        whole = {"from_probabilities": has_only_probabilities(self._attacked.model)}
        return [
            {"image_id": ids[place], **whole, **{name: values[place] for name, values in columns.items()}}
            for place in range(len(ids))
        ]

    def _corrupt(self, classifier: Target, batch: Batch) -> Rows:
        rows: Rows = []
        ids = batch.columns["image/id"]
        if not ids:
            return rows
        for corruption in CORRUPTIONS:
            for severity in SEVERITIES:
                pixels = corrupt(corruption, severity, batch.pixels, ids)
                predicted = self._scores(classifier, pixels).argmax(axis=1)
                rows += [
                    {
                        "image_id": ids[place],
                        "lesion_id": batch.columns["lesion/id"][place],
                        "label": int(batch.labels[place]),
                        "corruption": corruption,
                        "severity": severity,
                        "predicted": int(predicted[place]),
                    }
                    for place in range(len(ids))
                ]
        return rows

    def _scores(self, classifier: Target, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        if not len(pixels):
            return np.empty((0, 0), np.float32)
        return probabilities_of(logits_of(classifier, to_images(pixels), self._params.batch_size))


@dataclass(frozen=True)
class _Known:
    """Which evaluated attacks broke which images: (attack, epsilon) -> ids of the images that they broke."""

    broken: Mapping[tuple[str, float], frozenset[str]]

    @classmethod
    def read(cls, uri: str, ids: Sequence[str]) -> _Known:
        table = read_columns(uri, ["image_id", "attack", "epsilon", "label", "predicted"]).to_pydict()
        wanted = set(ids)
        broken: dict[tuple[str, float], set[str]] = {}
        for row in zip(*table.values(), strict=True):
            image, attack, epsilon, label, predicted = row
            if image in wanted and predicted != label:
                broken.setdefault((attack, round(epsilon, 4)), set()).add(image)
        return cls({place: frozenset(images) for place, images in broken.items()})

    def standing(self, batch: Batch, attacks: Sequence[str], epsilon: float) -> Flags:
        """Return which images are right when clean and under these attacks: bool [image]."""
        places = [(CLEAN, 0.0), *((attack, round(epsilon, 4)) for attack in attacks)]
        fallen = frozenset[str]().union(*(self.broken.get(place, frozenset()) for place in places))
        return np.asarray([image not in fallen for image in batch.columns["image/id"]], bool)


def _taken(batch: Batch, chosen: Flags) -> Batch:
    places = np.flatnonzero(chosen)
    columns = {name: [values[place] for place in places] for name, values in batch.columns.items()}
    return Batch(batch.pixels[places], batch.labels[places], columns)
