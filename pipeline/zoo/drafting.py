"""Draft of a model's card, from the records of the run that trained and evaluated it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dermrobust.attacks.errors import UserError
from dermrobust.components.evaluation.checks import Check
from dermrobust.components.evaluation.conditions import condition_of
from dermrobust.components.evaluation.names import CONSTANT, WORST_CASE, canonical_epsilon
from dermrobust.components.evaluation.reading import Evaluation
from dermrobust.components.evaluation.rows import Figure
from dermrobust.components.evaluation.schemas import OVERALL
from dermrobust.components.model_files import ModelSpec
from dermrobust.pipeline.report.panels.radii import METRIC as RADIUS
from dermrobust.pipeline.report.panels.radii import minimizing
from dermrobust.pipeline.zoo.card import Card, CardFigure, Measurement, TestSplit, Training, conditions
from dermrobust.pipeline.zoo.evidence import Evidence
from dermrobust.pipeline.zoo.machine import commit, machine
from dermrobust.pipeline.zoo.retraining import retraining_command, training_threat
from dermrobust.pipeline.zoo.split import dataset_digest

LICENSES = {"ham10000": "CC-BY-NC-4.0", "isic2019": "CC-BY-NC-4.0", "synthetic": "Apache-2.0"}
"""License (SPDX) of the images of each data set; weights are derived from them."""
METRICS = ("accuracy", "balanced_accuracy", "macro_auc", "critical_sensitivity")
"""Metrics over all images; recall of each class is on the card as well."""
_SETTINGS = ("stop_at_success", "gradient_precision", "batch_size")


@dataclass(frozen=True)
class Stated:
    """Facts that the run does not record; None: as found on this machine and in the ledger.

    Attributes:
        machine: machine of the training.
        minutes: duration of the training, where it was interrupted and resumed.
        commit: commit of the training.
        license: license of the weights (SPDX); None: that of the images.
    """

    machine: str | None = None
    minutes: float | None = None
    commit: str | None = None
    license: str | None = None


def draft_card(
    evidence: Evidence,
    name: str,
    parameters: dict[str, Any],
    weights: int,
    checks: tuple[Check, ...],
    stated: Stated,
) -> Card:
    """Return the card of a model without the digests of its files.

    Args:
        evidence: records of the run about the model.
        name: name of the model in the zoo.
        parameters: parameters of the training.
        weights: number of weights.
        checks: self-checks of the model and of the evaluation as a whole.
        stated: facts that the run does not record.

    Raises:
        UserError: the evaluation is not of the whole test split, or the license of the weights is not known.
    """
    about, spec = evidence.evaluation.about, ModelSpec.read(evidence.model)
    height, width = spec.preprocessing.height, spec.preprocessing.width
    dataset = evidence.config.ingest.dataset.dataset
    return Card(
        name=name,
        task=about.task,
        preprocessing=spec.preprocessing,
        input=f"float32 images of shape (n, {height}, {width}, 3), values from 0 to 1",
        output=f"float32 logits of shape (n, {len(spec.class_names)})",
        **_license(dataset, stated),
        training=_training(evidence, name, parameters, weights, stated),
        split=_split(evidence, dataset),
        evaluation=Measurement(
            run=evidence.run,
            name=evidence.name,
            norm=about.norm,
            epsilons=about.epsilons,
            attacks=about.attacks,
            threats=about.threats,
            searches=about.searches,
            settings={
                **{key: evidence.predictions.parameters[key] for key in _SETTINGS},
                "probes": evidence.config.evaluate.probes.model_dump(mode="json"),
            },
            seed=about.seed,
            specificity=about.specificity,
            constant_class=about.constant_class,
            versions=about.versions,
        ),
        figures=card_figures(evidence.evaluation, evidence.name),
        radii=card_radii(evidence.evaluation, evidence.name),
        beyond=card_beyond(evidence.evaluation, evidence.name),
        floor=card_figures(evidence.evaluation, CONSTANT),
        checks=checks,
        files={},
    )


def _license(dataset: str, stated: Stated) -> dict[str, str]:
    """Return the license of weights that were trained on a data set, with its reason."""
    found = stated.license or LICENSES.get(dataset)
    if found is None:
        raise UserError(
            f"the license of the data set '{dataset}' is not known here; state that of the weights: --license"
        )
    return {"license": found, "license_reason": f"The weights are derived from the images of {dataset}."}


def _training(evidence: Evidence, name: str, parameters: dict[str, Any], weights: int, stated: Stated) -> Training:
    images = evidence.training.get("training_images")
    return Training(
        command=retraining_command(evidence, evidence.evaluation.about.task.name, name),
        seconds=evidence.seconds if stated.minutes is None else 60 * stated.minutes,
        machine=stated.machine or machine(),
        commit=stated.commit or commit(),
        versions=dict(evidence.trained.versions),
        threat=training_threat(evidence),
        network=parameters["network"],
        weights=weights,
        parameters=parameters,
        fingerprint=evidence.trained.fingerprint,
        images=images if isinstance(images, int) else None,
    )


def _split(evidence: Evidence, dataset: str) -> TestSplit:
    about = evidence.evaluation.about
    digest, count = dataset_digest(evidence.dataset)
    if count != about.images:
        raise UserError(f"the test split has {count} images, but {about.images} were evaluated; evaluate again")
    return TestSplit(dataset=dataset, images=about.images, groups=about.groups, sha256=digest)


def card_figures(evaluation: Evaluation, model: str) -> tuple[CardFigure, ...]:
    """Return the figures of a model of an evaluation that a card repeats: clean, and worst case at each budget."""
    return tuple(_figures(evaluation, model))


def card_radii(evaluation: Evaluation, model: str) -> tuple[CardFigure, ...]:
    """Return the median robust radii of a model, of all images and of each class; none: no attack looked for them."""
    largest = max(evaluation.about.epsilons)
    return tuple(
        _card_figure(found, attack, largest, RADIUS, where)
        for attack in minimizing(evaluation)
        for where in (OVERALL, *_class_slices(evaluation))
        if (found := evaluation.figure(model, attack, largest, RADIUS, where)) is not None
    )


def card_beyond(evaluation: Evaluation, model: str) -> tuple[CardFigure, ...]:
    """Return the worst-case accuracy of a model under each threat model beyond a norm, on all images and by class."""
    return tuple(
        _card_figure(
            found, condition_of(threat.family, WORST_CASE), canonical_epsilon(threat.strength), "accuracy", where
        )
        for threat in evaluation.threats
        for where in (OVERALL, *_class_slices(evaluation))
        if (found := evaluation.under(threat, WORST_CASE, model, "accuracy", where)) is not None
    )


def _class_slices(evaluation: Evaluation) -> list[str]:
    task = evaluation.about.task
    return [f"{task.class_key}={name}" for name in task.class_names]


def _card_figure(found: Figure, attack: str, epsilon: float, metric: str, where: str) -> CardFigure:
    return CardFigure(attack=attack, epsilon=epsilon, slice=where, metric=metric, **vars(found))


def _figures(evaluation: Evaluation, model: str) -> Iterator[CardFigure]:
    about = evaluation.about
    classes = [("accuracy", where) for where in _class_slices(evaluation)]
    for attack, epsilon in conditions(about.epsilons):
        for metric, where in (*((metric, OVERALL) for metric in METRICS), *classes):
            found = evaluation.figure(model, attack, epsilon, metric, where)
            if found is not None:
                yield _card_figure(found, attack, epsilon, metric, where)
