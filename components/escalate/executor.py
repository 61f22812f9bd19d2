"""Executor of escalate: units of work are (shard, budget), if a self-check fails; else there is nothing to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dermrobust.attacks.threat import Pixels, ThreatModel
from dermrobust.components import storage
from dermrobust.components.adversarial_shard import Crafting
from dermrobust.components.artifacts import Artifact
from dermrobust.components.attack_targets import classifier_of, is_black_box, plain_target_of
from dermrobust.components.component import Context
from dermrobust.components.evaluation.escalation import ESCALATED, ESCALATION, Escalation
from dermrobust.components.evaluation.escalation_params import EscalateParams
from dermrobust.components.evaluation.masking import is_random, masking_signs
from dermrobust.components.evaluation.names import canonical_epsilon
from dermrobust.components.evaluation.predictions import part_name, prediction_uris
from dermrobust.components.evaluation.probes import HEALTH, PROBES, PROBES_SCHEMA, probe_uris
from dermrobust.components.evaluation.standing import Broken
from dermrobust.components.evaluation.tables import read_columns, read_tables, write_table
from dermrobust.components.examples import Batch, ExamplesSpec, Split, read_shard, shard_uris
from dermrobust.components.samples import SplitOrder
from dermrobust.components.scoring import scored
from dermrobust.components.units import Unit, run_units
from dermrobust.models.task import IMAGE_ID, Task


def run(context: Context) -> None:
    """Attack what still stands of a model whose gradients are masked, on Beam; write why, and the results."""
    params = context.params
    assert isinstance(params, EscalateParams)
    examples, model = context.input("examples"), context.input("model")
    spec = ExamplesSpec.read(examples)
    shards, output = shard_uris(examples, spec, Split.TEST), context.outputs["escalated"]
    escalation = _escalation(context, params, len(spec.task.class_names))
    budgets = params.epsilons if escalation.signs else ()
    escalator = Escalator(
        model=model,
        params=params,
        predictions=tuple(prediction_uris(context.input("predictions"))),
        probes=tuple(probe_uris(context.input("probes"), PROBES)),
        task=spec.task,
        order=SplitOrder.of(spec, Split.TEST),
        random=escalation.random,
    )
    units = [
        Unit(uri, at, len(shards), PROBES, place) for at, uri in enumerate(shards) for place in range(len(budgets))
    ]
    if units:
        failed = ", ".join(escalation.signs)
        context.progress.line(f"escalate: gradients are masked (self-checks that fail: {failed}); attacks escalate")
        run_units(context.beam, context.progress, output, units, escalator)
    else:
        for index in range(len(shards)):
            uri = storage.join(output, PROBES, part_name(index, len(shards)))
            write_table(uri, PROBES_SCHEMA.empty_table())
    storage.write_bytes(storage.join(output, ESCALATION), escalation.model_dump_json(indent=1).encode())


def _escalation(context: Context, params: EscalateParams, classes: int) -> Escalation:
    """Return why attacks on a model escalate, and how success is judged."""
    model, probes = context.input("model"), context.input("probes")
    # Of a black box there are only answers, which all its attacks have used already; under L0 no attack follows
    # gradients that could be masked.
    defined = params.epsilons[0].norm in params.escalation.attack.norms
    if params.escalation.images == 0 or is_black_box(model) or not defined:
        return Escalation()
    health = read_tables(probe_uris(probes, HEALTH))
    counts = _counts(prediction_uris(context.input("predictions")))
    signs = masking_signs(
        read_tables(probe_uris(probes, PROBES)),
        health,
        params.attacks,
        lambda attack, epsilon: _share(counts.get((attack, epsilon))),
        [canonical_epsilon(threat.epsilon) for threat in params.epsilons],
        images=max((images for _, images in counts.values()), default=0),
        classes=classes,
    )
    random = is_random(health)
    return Escalation(
        signs=signs, random=random, evaluations=params.escalation.attack.evaluations if signs and random else 1
    )


def _counts(uris: Sequence[str]) -> Mapping[tuple[str, float], tuple[int, int]]:
    """Return the numbers of right predictions and of images, by attack and epsilon; one shard at a time is read."""
    counts: dict[tuple[str, float], tuple[int, int]] = {}
    for uri in uris:
        table = read_columns(uri, ["attack", "epsilon", "label", "predicted"])
        table = table.append_column("right", pc.equal(table["label"], table["predicted"]).cast(pa.int64()))
        for row in table.group_by(["attack", "epsilon"]).aggregate([("right", "sum"), ("right", "count")]).to_pylist():
            place = row["attack"], canonical_epsilon(row["epsilon"])
            right, images = counts.get(place, (0, 0))
            counts[place] = right + row["right_sum"], images + row["right_count"]
    return counts


def _share(counts: tuple[int, int] | None) -> float | None:
    return None if counts is None else counts[0] / counts[1]


@dataclass(frozen=True)
class Escalator:
    """Attacks the images of a unit that withstood all attacks and probes.

    Attributes:
        model: the model artifact.
        params: parameters of the component.
        predictions: URIs of the model's predictions, shard by shard.
        probes: URIs of its probes, shard by shard.
        task: the classification problem.
        order: order of the test images.
        random: whether the model answers differently each time.
    """

    model: Artifact
    params: EscalateParams
    predictions: tuple[str, ...]
    probes: tuple[str, ...]
    task: Task
    order: SplitOrder
    random: bool

    def __call__(self, unit: Unit) -> pa.Table:
        """Return the unit's table; it is empty where the shard has no images."""
        threat = self.params.epsilons[unit.place]
        broken = Broken.read(self.predictions[unit.shard]).with_probes(self.probes[unit.shard])
        rows: list[dict[str, Any]] = []
        for batch in read_shard(unit.source, self.task):
            part = self.order.sample(unit.shard, batch, self.params.escalation.images)
            rows += self._rows(part, broken, threat)
        return pa.Table.from_pylist(rows, schema=PROBES_SCHEMA)

    def _rows(self, part: Batch, broken: Broken, threat: ThreatModel) -> list[dict[str, Any]]:
        standing = broken.standing(part.columns[IMAGE_ID], (*self.params.attacks, PROBES), threat.epsilon)
        tried = part.chosen(standing)
        scores = iter(self._scores(tried, self._adversarial(tried, threat)) if standing.any() else ())
        rows = []
        for place, label in enumerate(part.labels):
            found = next(scores) if standing[place] else None
            rows.append(
                {
                    "image_id": part.columns[IMAGE_ID][place],
                    "label": int(label),
                    "epsilon": threat.epsilon,
                    "probe": ESCALATED,
                    "attack": ESCALATED,
                    "stood": bool(standing[place]),
                    "probabilities": None if found is None else found.tolist(),
                    "predicted": None if found is None else int(found.argmax()),
                }
            )
        return rows

    def _adversarial(self, tried: Batch, threat: ThreatModel) -> Pixels:
        params = self.params
        crafting = Crafting(
            ESCALATED,
            params.escalation.attack,
            threat,
            params.batch_size,
            params.seed,
            self.model.fingerprint,
            stop_at_success=True,
        )
        # In float32: the attack traces the exact model, whatever the precision of the attacks before.
        return crafting.craft(plain_target_of(self.model, "float32"), tried)

    def _scores(self, tried: Batch, pixels: Pixels) -> Any:
        evaluations = self.params.escalation.attack.evaluations if self.random else 1
        return scored(classifier_of(self.model), pixels, tried.labels, self.params.batch_size, evaluations)
