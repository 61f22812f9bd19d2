"""Executor of probe: units of work are (shard, attack, budget), (shard, network) and (shard, corruptions)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dermrobust.attacks.engine import to_images
from dermrobust.attacks.problem import Labels
from dermrobust.attacks.target import Target
from dermrobust.attacks.threat import Pixels
from dermrobust.components.artifacts import Artifact
from dermrobust.components.attack_targets import (
    Attacked,
    classifier_of,
    has_only_probabilities,
    is_black_box,
)
from dermrobust.components.component import Context
from dermrobust.components.corruptions.natural import SEVERITIES, corrupt
from dermrobust.components.evaluation.params import ProbeParams
from dermrobust.components.evaluation.predictions import adversarial_name, prediction_uris
from dermrobust.components.evaluation.probes import (
    CORRUPTED,
    HEALTH,
    HEALTH_SCHEMA,
    PROBES,
    PROBES_SCHEMA,
    corrupted_schema,
)
from dermrobust.components.evaluation.standing import Broken, Flags
from dermrobust.components.examples import Batch, ExamplesSpec, Split, read_images, read_shard, shard_uris
from dermrobust.components.probe.network_diagnostics import examine
from dermrobust.components.probe.plan import Probe, planned_probes
from dermrobust.components.samples import SplitOrder
from dermrobust.components.scoring import evaluations_for, scored
from dermrobust.components.units import Unit, run_units
from dermrobust.models.task import IMAGE_ID, Task, column

Rows = list[dict[str, Any]]


def run(context: Context) -> None:
    """Probe a model on a sample of the test split, on Beam."""
    params = context.params
    assert isinstance(params, ProbeParams)
    examples, model = context.input("examples"), context.input("model")
    spec = ExamplesSpec.read(examples)
    shards = shard_uris(examples, spec, Split.TEST)
    output = context.outputs["probes"]
    values = spec.preprocessing.height * spec.preprocessing.width * spec.task.channels
    prober = Prober(
        attacked=Attacked.of(context, params),
        params=params,
        probes=tuple(planned_probes(params, model.fingerprint, values)),
        transferred=dict(zip(params.transferred, context.inputs.get("transferred", ()), strict=True)),
        predictions=tuple(prediction_uris(context.input("predictions"))),
        task=spec.task,
        order=SplitOrder.of(spec, Split.TEST),
    )
    units = [
        Unit(uri, index, len(shards), folder, place)
        for index, uri in enumerate(shards)
        for folder, count in ((PROBES, len(prober.probes)), (HEALTH, 1), (CORRUPTED, 1))
        for place in range(count)
    ]
    run_units(context.beam, context.progress, output, units, prober)


@dataclass(frozen=True)
class Prober:
    """Carries out a unit of work: a probe, the diagnostics of the network, or all corruptions.

    Attributes:
        attacked: the model and its surrogates.
        params: parameters of the component.
        probes: attacks and budgets, in the order of the results.
        transferred: adversarial examples that were crafted on another model, by the name of that model.
        predictions: URIs of the model's predictions, shard by shard.
        task: the classification problem.
        order: order of the test images, of which samples are probed.
    """

    attacked: Attacked
    params: ProbeParams
    probes: tuple[Probe, ...]
    transferred: Mapping[str, Artifact]
    predictions: tuple[str, ...]
    task: Task
    order: SplitOrder

    def __call__(self, unit: Unit) -> pa.Table:
        """Return the unit's table; it is empty where the shard has no images."""
        task, rows = self.task, Rows()
        work, schema = {
            PROBES: (self._probe, PROBES_SCHEMA),
            HEALTH: (self._examine, HEALTH_SCHEMA),
            CORRUPTED: (self._corrupt, corrupted_schema(task)),
        }[unit.folder]
        for batch in read_shard(unit.source, task):
            rows += work(unit, batch)
        return pa.Table.from_pylist(rows, schema=schema)

    def _probe(self, unit: Unit, batch: Batch) -> Rows:
        probe, classifier = self.probes[unit.place], classifier_of(self.attacked.model)
        part = self.order.sample(unit.shard, batch, probe.images)
        epsilon = probe.crafting.threat.epsilon
        standing = Broken.read(self.predictions[unit.shard]).standing(part.columns[IMAGE_ID], probe.against, epsilon)
        scores = iter(self._scores(classifier, self._adversarial(unit, probe, part, standing), part.labels[standing]))
        rows: Rows = []
        for place in range(len(part.labels)):
            # An image that has fallen already is not tried: it counts as broken whatever the probe does.
            found = next(scores) if standing[place] else None
            rows.append(
                {
                    "image_id": part.columns[IMAGE_ID][place],
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

    def _adversarial(self, unit: Unit, probe: Probe, part: Batch, standing: Flags) -> Pixels:
        """Return the adversarial forms of the standing images: uint8 [standing, height, width, 3]."""
        if not standing.any():
            return part.pixels[:0]
        if probe.source is None:
            return probe.crafting.craft(self.attacked.target(), part.chosen(standing))
        name = adversarial_name(probe.crafting.name, probe.crafting.threat, unit.shard, unit.shards)
        ids, crafted, _ = read_images(self.transferred[probe.source].path(name))
        if ids != part.columns[IMAGE_ID]:
            raise ValueError(f"probe: '{name}' does not hold the probed images of '{unit.source}'")
        return crafted[standing]

    def _examine(self, unit: Unit, batch: Batch) -> Rows:
        params, model = self.params, self.attacked.model
        part = self.order.sample(unit.shard, batch, params.images)
        if not len(part.labels):
            return []
        found = examine(classifier_of(model), to_images(part.pixels), part.labels, params.batch_size)
        columns = {field.name: getattr(found, field.name).tolist() for field in dataclasses.fields(found)}
        whole = {"from_probabilities": has_only_probabilities(model), "black_box": is_black_box(model)}
        return [
            {"image_id": name, **whole, **{field: values[place] for field, values in columns.items()}}
            for place, name in enumerate(part.columns[IMAGE_ID])
        ]

    def _corrupt(self, unit: Unit, batch: Batch) -> Rows:
        rows: Rows = []
        classifier, group = classifier_of(self.attacked.model), self.task.group_key
        part = self.order.sample(unit.shard, batch, self.params.corruption_images)
        ids = part.columns[IMAGE_ID]
        for corruption in self.params.corruptions if ids else ():
            for severity in SEVERITIES:
                pixels = corrupt(corruption, severity, part.pixels, ids)
                predicted = self._scores(classifier, pixels, part.labels).argmax(axis=1)
                rows += [
                    {
                        "image_id": ids[place],
                        **({} if group is None else {column(group): part.columns[group][place]}),
                        "label": int(part.labels[place]),
                        "corruption": corruption,
                        "severity": severity,
                        "predicted": int(predicted[place]),
                    }
                    for place in range(len(ids))
                ]
        return rows

    def _scores(self, classifier: Target, pixels: Pixels, labels: Labels) -> npt.NDArray[np.float32]:
        evaluations = evaluations_for(self.params.attacks.values())
        return scored(classifier, pixels, labels, self.params.batch_size, evaluations)
