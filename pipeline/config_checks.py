"""Checks between sections of the config; each raises ValueError with the path of the wrong value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence

from dermrobust.attacks.errors import UserError
from dermrobust.attacks.threat import ThreatModel
from dermrobust.attacks.transforms.threat import TransformThreat
from dermrobust.components.evaluation.conditions import (
    CERTIFIED,
    SMOOTHED,
    family_of,
    is_of_referral,
    is_of_smoothing,
    of_referral,
    of_smoothing,
    search_of,
)
from dermrobust.components.evaluation.names import BEFORE_ESCALATION, CLEAN, CONSTANT, WORST_CASE, canonical_epsilon
from dermrobust.components.evaluation.thresholds import Threshold
from dermrobust.components.gate.judging import check_slices
from dermrobust.components.train.component import TrainParams
from dermrobust.models.task import Task
from dermrobust.pipeline.config_sections import BASELINE, AugmentConfig, EvaluateConfig, ExportConfig

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+.-]{0,63}")
"""Names of models."""


def check_models(augment: AugmentConfig, defences: Iterable[str]) -> None:
    """Check the names of models, and the attacks that hardened models are trained on."""
    for place, names in (("augment.models", augment.models), ("defences", defences)):
        for name in names:
            # Names become parts of paths.
            if _NAME.fullmatch(name) is None:
                raise ValueError(
                    f"{place}: {name!r} cannot name a model; use up to 64 letters, digits, and characters of '_+.-', "
                    "beginning with a letter or digit"
                )
    for name, attacks in augment.models.items():
        unknown = [attack for attack in attacks if attack not in augment.attacks]
        if unknown or not attacks:
            known = ", ".join(augment.attacks)
            raise ValueError(f"augment.models.{name}: {list(attacks)} must name some of augment.attacks ({known})")
    for place, models in (("augment.models", augment.models), ("defences", defences)):
        if BASELINE in models:
            raise ValueError(f"{place}: '{BASELINE}' is the name of the baseline; choose another")
        if CONSTANT in models:
            raise ValueError(
                f"{place}: '{CONSTANT}' is the name of the classifier that always answers one class; choose another"
            )
    if twice := set(augment.models) & set(defences):
        raise ValueError(f"defences: augment.models has a model '{min(twice)}' as well; choose another name")


def check_baseline(train: TrainParams, defences: Mapping[str, TrainParams]) -> None:
    """Check the trainings that start from the trained baseline, or learn from its predictions.

    Args:
        train: Parameters of the baseline.
        defences: Parameters of the other models, each by its place in the config.
    """
    if train.needs_baseline:
        raise ValueError("train: initial_weights and distillation refer to this model itself; set them for a defence")
    for place, params in defences.items():
        if params.initial_weights == "baseline" and params.network != train.network:
            raise ValueError(f"{place}: initial_weights 'baseline' needs the network of train; remove 'network' here")
        if params.distillation:
            different = [name for name in _FREQUENCIES if getattr(params, name) != getattr(train, name)]
            if different:
                raise ValueError(
                    f"{place}: with distillation, {different[0]} must be that of train, so that both models expect "
                    "the same frequencies of classes"
                )


_FREQUENCIES = ("logit_adjustment", "class_weighting", "class_sampling")
"""Parameters of training that change which frequencies of classes a model expects."""


def check_attacks(augment: AugmentConfig, evaluate: EvaluateConfig, class_count: int) -> None:
    """Check that every attack can be run with its budgets on so many classes."""
    stages = {
        "evaluate": (evaluate.attacks, evaluate.epsilons),
        "augment": (augment.attacks, (augment.epsilon,)),
    }
    for stage, (attacks, threats) in stages.items():
        for name, attack in attacks.items():
            try:
                attack.check_classes(class_count)
                for threat in threats:
                    attack.check_threat(threat)
            except UserError as error:
                raise ValueError(f"{stage}.attacks.{name}: {error}") from error


def check_certificates(evaluate: EvaluateConfig, class_count: int) -> None:
    """Check that the attack on smoothed classifiers can be run on so many classes."""
    try:
        evaluate.certificates.attack.check_classes(class_count)
    except UserError as error:
        raise ValueError(f"evaluate.certificates.attack: {error}") from error


def check_referral(evaluate: EvaluateConfig, export: ExportConfig) -> None:
    """Check that the exported model refers at a rate that a threshold is fitted for, and that its attack can be run."""
    if evaluate.referral.rates:
        try:
            for threat in evaluate.epsilons:
                evaluate.referral.attack.check_threat(threat)
        except UserError as error:
            raise ValueError(f"evaluate.referral.attack: {error}") from error
    rates, wanted = [f"{rate:g}" for rate in evaluate.referral.rates], export.referral_rate
    if wanted is not None and f"{wanted:g}" not in rates:
        raise ValueError(
            f"export.referral_rate: {wanted:g} is not in evaluate.referral.rates; these are: "
            f"{', '.join(rates) or 'none'}"
        )


def check_sources(augment: AugmentConfig, evaluate: EvaluateConfig, models: Sequence[str]) -> None:
    """Check the models that attacks transfer from."""
    for name, attack in evaluate.attacks.items():
        if unknown := attack.sources - set(models):
            known = ", ".join(models)
            raise ValueError(
                f"evaluate.attacks.{name}: there is no model '{min(unknown)}' to transfer from; there are: {known}"
            )
    for name, attack in augment.attacks.items():
        if attack.sources:
            raise ValueError(f"augment.attacks.{name}: examples are crafted on the baseline already; name an attack")


def check_gate(evaluate: EvaluateConfig, models: Sequence[str], task: Task) -> None:
    """Check that the gate names models, attacks, budgets and slices that are evaluated."""
    gate = evaluate.gate
    for reserved in (CLEAN, WORST_CASE, BEFORE_ESCALATION):
        if reserved in evaluate.attacks:
            raise ValueError(f"evaluate.attacks: '{reserved}' is a reserved name; choose another")
    for role, name in (("candidate", gate.candidate), ("baseline", gate.baseline)):
        if name is not None and name not in models:
            raise ValueError(f"evaluate.gate.{role}: there is no model '{name}'; there are: {', '.join(models)}")
    for index, threshold in enumerate(gate.thresholds):
        _check_threshold(threshold, f"evaluate.gate.thresholds.{index}", evaluate)
    try:
        check_slices(gate, task)
    except ValueError as error:
        raise ValueError(f"evaluate.gate.{error}") from error
    if not gate.covered(evaluate.attacks) and evaluate.epsilons:
        largest = max(threat.epsilon for threat in evaluate.epsilons)
        example = {"metric": "balanced_accuracy", "attack": WORST_CASE, "epsilon": largest, "min": 0.3}
        raise ValueError(
            "evaluate.gate.thresholds: none asks for anything under attack, so a model that falls would be exported; "
            f"add one, such as {json.dumps(example)}"
        )


def uncovered_budgets(evaluate: EvaluateConfig) -> tuple[ThreatModel, ...]:
    """Return the evaluated budgets at which the gate asks for nothing; see `Gate.covered`."""
    covered = evaluate.gate.covered(evaluate.attacks)
    return tuple(threat for threat in evaluate.epsilons if threat.epsilon not in covered)


def uncovered_threats(evaluate: EvaluateConfig) -> tuple[TransformThreat, ...]:
    """Return the evaluated threat models beyond a norm at which the gate asks for nothing."""
    return evaluate.gate.uncovered_threats(evaluate.threats, evaluate.searches)


def _check_threshold(threshold: Threshold, place: str, evaluate: EvaluateConfig) -> None:
    if is_of_smoothing(threshold.attack):
        _check_smoothed(threshold, place, evaluate)
        return
    if is_of_referral(threshold.attack):
        _check_referred(threshold, place, evaluate)
        return
    if (family := family_of(threshold.attack)) is not None:
        _check_beyond_a_norm(threshold, family, place, evaluate)
        return
    attacks = (CLEAN, WORST_CASE, *evaluate.attacks)
    if threshold.attack not in attacks:
        raise ValueError(f"{place}.attack: '{threshold.attack}' is not evaluated; these are: {', '.join(attacks)}")
    evaluated = [threat.epsilon for threat in evaluate.epsilons]
    if threshold.attack != CLEAN and threshold.epsilon not in evaluated:
        known = ", ".join(f"{epsilon:g}" for epsilon in evaluated)
        raise ValueError(f"{place}.epsilon: {threshold.epsilon:g} is not evaluated; these are: {known}")


def _check_beyond_a_norm(threshold: Threshold, family: str, place: str, evaluate: EvaluateConfig) -> None:
    known = (WORST_CASE, *evaluate.searches)
    if search_of(threshold.attack) not in known:
        raise ValueError(f"{place}.attack: '{threshold.attack}' is not searched; these are: {', '.join(known)}")
    evaluated = {(threat.family, canonical_epsilon(threat.strength)) for threat in evaluate.threats}
    if (family, canonical_epsilon(threshold.epsilon)) not in evaluated:
        threats = ", ".join(map(str, evaluate.threats)) or "none"
        raise ValueError(
            f"{place}.epsilon: {family}:{threshold.epsilon:g} is not in evaluate.threats; these are: {threats}"
        )


def _check_smoothed(threshold: Threshold, place: str, evaluate: EvaluateConfig) -> None:
    settings = evaluate.certificates
    families = (CERTIFIED, SMOOTHED)
    known = [of_smoothing(family, sigma) for sigma in settings.sigmas for family in families]
    if threshold.attack not in known:
        raise ValueError(
            f"{place}.attack: '{threshold.attack}' is not evaluated; with evaluate.certificates.sigmas these are: "
            f"{', '.join(known) or 'none'}"
        )
    certified = settings.attacks or family_of(threshold.attack) == CERTIFIED
    radii = (0.0, *(canonical_epsilon(threat.epsilon) for threat in settings.radii)) if certified else (0.0,)
    if canonical_epsilon(threshold.epsilon) not in radii:
        raise ValueError(
            f"{place}.epsilon: l2:{threshold.epsilon / 255:g} is not evaluated; these are: "
            + ", ".join(f"l2:{radius / 255:g}" for radius in radii)
        )


def _check_referred(threshold: Threshold, place: str, evaluate: EvaluateConfig) -> None:
    names = (CLEAN, *evaluate.attacks, WORST_CASE)
    known = [of_referral(rate, name) for rate in evaluate.referral.rates for name in names]
    if threshold.attack not in known:
        raise ValueError(
            f"{place}.attack: '{threshold.attack}' is not evaluated; with evaluate.referral.rates these are: "
            f"{', '.join(known) or 'none'}"
        )
    evaluated = [canonical_epsilon(threat.epsilon) for threat in evaluate.epsilons]
    if search_of(threshold.attack) != CLEAN and canonical_epsilon(threshold.epsilon) not in evaluated:
        budgets = ", ".join(f"{epsilon:g}" for epsilon in evaluated)
        raise ValueError(f"{place}.epsilon: {threshold.epsilon:g} is not evaluated; these are: {budgets}")
