"""Judgment of an evaluation: the rulings of all rules, as one blessing."""

from __future__ import annotations

from dermrobust.attacks.errors import UserError
from dermrobust.attacks.selection import read_attack
from dermrobust.attacks.transforms.selection import read_search
from dermrobust.attacks.transforms.threat import TransformThreat
from dermrobust.components.evaluation.blessing import Blessing
from dermrobust.components.evaluation.names import canonical_epsilon
from dermrobust.components.evaluation.reading import Evaluation
from dermrobust.components.evaluation.thresholds import Gate
from dermrobust.components.gate.registry import ALWAYS, RULES
from dermrobust.components.gate.ruling import Ruling
from dermrobust.models.task import Task


def bless(gate: Gate, evaluation: Evaluation) -> Blessing:
    """Return whether the candidate may be exported, with a reason for each threshold and objection.

    Raises:
        UserError: the gate names a model, a class, a slice or a rule that does not exist.
    """
    check_names(gate, evaluation)
    rulings: list[Ruling] = [RULES.resolve(name)(gate, evaluation) for name in dict.fromkeys((*ALWAYS, *gate.rules))]
    verdicts = tuple(verdict for ruling in rulings for verdict in ruling.verdicts)
    objections = tuple(objection for ruling in rulings for objection in ruling.objections)
    judged = [verdict for verdict in verdicts if verdict.judged]
    # A gate none of whose thresholds could be judged has shown nothing, so it refuses.
    holds = all(verdict.passed for verdict in judged) and bool(judged or not verdicts)
    return Blessing(
        blessed=holds and not objections,
        candidate=gate.candidate,
        baseline=gate.baseline,
        thresholds=verdicts,
        checks=objections,
        uncovered=_uncovered(gate, evaluation),
        uncovered_threats=_uncovered_threats(gate, evaluation),
    )


def _uncovered(gate: Gate, evaluation: Evaluation) -> tuple[float, ...]:
    about = evaluation.about
    covered = gate.covered({name: read_attack(parameters) for name, parameters in about.attacks.items()})
    return tuple(epsilon for epsilon in about.epsilons if epsilon not in {canonical_epsilon(each) for each in covered})


def _uncovered_threats(gate: Gate, evaluation: Evaluation) -> tuple[str, ...]:
    searches = {name: read_search(parameters) for name, parameters in evaluation.about.searches.items()}
    threats = map(TransformThreat.parse, evaluation.about.threats)
    return tuple(map(str, gate.uncovered_threats(threats, searches)))


def check_names(gate: Gate, evaluation: Evaluation) -> None:
    """Check that what a gate names is in an evaluation; see `bless`."""
    models = evaluation.about.models
    for role, name in (("candidate", gate.candidate), ("baseline", gate.baseline)):
        if name is not None and name not in models:
            raise UserError(f"gate: the {role} '{name}' is not among the models: {', '.join(models)}")
    try:
        check_slices(gate, evaluation.about.task)
    except ValueError as error:
        raise UserError(f"gate.{error}") from error


def check_slices(gate: Gate, task: Task) -> None:
    """Check the rules, classes and slices that a gate names.

    Raises:
        ValueError: one does not exist; the message begins with its key below the gate.
    """
    for name in gate.rules:
        if name not in RULES.names:
            raise ValueError(f"rules: there is no gate rule '{name}'; there are: {', '.join(RULES.names)}")
    for index, threshold in enumerate(gate.thresholds):
        place = f"thresholds.{index}"
        if threshold.class_name is not None and threshold.class_name not in task.class_names:
            known = ", ".join(task.class_names)
            raise ValueError(f"{place}.class: '{threshold.class_name}' is no class; these are: {known}")
        feature = (threshold.slice or "").partition("=")[0]
        if feature and feature not in task.slices:
            known = ", ".join(task.slices)
            raise ValueError(f"{place}.slice: there are no slices by '{feature}'; there are: {known}")
