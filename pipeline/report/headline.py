"""Headline of a report: the verdict, its key figures, and checks that fail."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dermrobust.attacks.transforms.threat import TransformThreat
from dermrobust.components.evaluation.checks import ACCESS, Check
from dermrobust.components.evaluation.metrics.registry import METRICS
from dermrobust.components.evaluation.names import CLEAN, CONSTANT, WORST_CASE
from dermrobust.components.evaluation.reading import Evaluation
from dermrobust.components.evaluation.rows import Comparison, Figure
from dermrobust.components.evaluation.schemas import OVERALL
from dermrobust.pipeline.report import wording


@dataclass(frozen=True)
class KeyFigure:
    """Figure of the candidate, the condition it was measured under, and the classes it is about."""

    label: str
    under: str
    figure: Figure | None
    note: str = ""


@dataclass(frozen=True)
class Headline:
    """Verdict ("blessed", "refused" or "not-gated") with its reasons and key figures.

    Attributes:
        model: the candidate, or without a gate the first model.
        holds: up to which budget the model is better than chance, in a sentence; empty: nothing was attacked.
        floor: at which budgets the model is worse than the constant classifier, in a sentence; empty: at none.
        findings: what the comparison with the baseline shows, in sentences.
        failing: failed checks, which make the figures of this model unreliable.
    """

    state: str
    title: str
    sentence: str
    model: str
    holds: str
    floor: str
    findings: tuple[str, ...]
    key_figures: tuple[KeyFigure, ...]
    failing: tuple[Check, ...]


def headline(evaluation: Evaluation) -> Headline:
    """Return the verdict on the candidate."""
    model = evaluation.candidate
    failing = tuple(c for c in evaluation.checks or () if c.status == "fail" and c.model in (None, model))
    state, title, sentence = _verdict(evaluation, model)
    black_box = any(check.name == ACCESS for check in failing)
    if black_box:
        sentence = f"Black box: every robust accuracy here is an upper bound, found without gradients. {sentence}"
    return Headline(
        state,
        title,
        sentence,
        model,
        # An upper bound says up to where a model might hold, not up to where it does.
        "" if black_box else _holds(evaluation, model),
        _below_constant(evaluation, model),
        tuple(_findings(evaluation)),
        _key_figures(evaluation, model),
        failing,
    )


def _verdict(evaluation: Evaluation, model: str) -> tuple[str, str, str]:
    blessing = evaluation.blessing
    if blessing is None or not (blessing.thresholds or blessing.checks):
        return "not-gated", "Not gated", "No threshold was set, so this evaluation neither blesses nor refuses a model."
    judged = [verdict for verdict in blessing.thresholds if verdict.judged]
    missed = [verdict for verdict in judged if not verdict.passed]
    if blessing.blessed:
        met = f"Model {model} meets every threshold that could be judged ({len(judged)})."
        return "blessed", "Blessed", met + _uncovered(evaluation, model)
    reasons = []
    if missed:
        reasons.append(f"it misses {len(missed)} of {len(judged)} thresholds")
    if blessing.checks:
        reasons.append(f"{len(blessing.checks)} checks of the evaluation do not pass")
    if not reasons:
        reasons.append("no threshold could be judged" if not judged else "the validation as a whole did not hold")
    return "refused", "Refused", f"Model {model} must not be exported: {' and '.join(reasons)}."


def _uncovered(evaluation: Evaluation, model: str) -> str:
    """Return a sentence on each evaluated budget at which the gate asked for nothing."""
    sentences = ""
    for epsilon in evaluation.blessing.uncovered if evaluation.blessing else ():
        robust = evaluation.figure(model, WORST_CASE, epsilon, "accuracy")
        there = "" if robust is None else f", where it classifies {robust.value:.0%} of the images correctly"
        sentences += f" No threshold covers ε {wording.budget(epsilon, evaluation.about.norm)}{there}."
    for text in evaluation.blessing.uncovered_threats if evaluation.blessing else ():
        robust = evaluation.under(TransformThreat.parse(text), WORST_CASE, model, "accuracy")
        there = "" if robust is None else f", where it classifies {robust.value:.0%} of the images correctly"
        sentences += f" No threshold covers {text}{there}."
    return sentences


def _holds(evaluation: Evaluation, model: str) -> str:
    """Return up to which budget the lower end of the worst-case balanced accuracy is above chance."""
    about = evaluation.about
    chance = 1 / len(about.task.class_names)
    last: tuple[float, float] | None = None
    for epsilon in about.epsilons:
        robust = evaluation.figure(model, WORST_CASE, epsilon, "balanced_accuracy")
        if robust is None:
            continue
        budget = wording.budget(epsilon, about.norm)
        if robust.lower is None or robust.lower <= chance:
            up_to = "It holds at no budget" if last is None else f"It holds up to ε {_worst(about.norm, *last)}"
            floor = f"always answering {about.constant_class}" if about.constant_class else "guessing"
            return f"{up_to}; at ε {budget} it is no better than {floor} (balanced accuracy {robust.value:.2f})."
        last = epsilon, robust.value
    return "" if last is None else f"It holds up to ε {_worst(about.norm, *last)}, the largest budget tried."


def _worst(norm: str, epsilon: float, value: float) -> str:
    return f"{wording.budget(epsilon, norm)}, with a worst-case balanced accuracy of {value:.2f}"


def _below_constant(evaluation: Evaluation, model: str) -> str:
    about = evaluation.about
    budgets = []
    for epsilon in about.epsilons:
        figures = [evaluation.figure(name, WORST_CASE, epsilon, "accuracy") for name in (model, CONSTANT)]
        robust, floor = (None if figure is None else figure.value for figure in figures)
        if robust is not None and floor is not None and robust < floor:
            budgets.append(wording.budget(epsilon, about.norm))
    if not budgets:
        return ""
    return f"Worst-case accuracy at ε {', '.join(budgets)} is worse than always answering {about.constant_class}."


def _findings(evaluation: Evaluation) -> Iterator[str]:
    """Yield which models are significantly worse or better than the baseline at the smallest and largest budget."""
    about = evaluation.about
    for epsilon in dict.fromkeys((*about.epsilons[:1], *about.epsilons[-1:])):
        rows = [
            row
            for row in evaluation.comparisons or ()
            if (row.attack, row.epsilon, row.slice, row.metric) == (WORST_CASE, epsilon, OVERALL, "accuracy")
            and row.significant
        ]
        for than, found in (
            ("worse", [row for row in rows if row.change < 0]),
            ("better", [row for row in rows if row.change > 0]),
        ):
            if found:
                yield _compared(evaluation, than, found)


def _compared(evaluation: Evaluation, than: str, rows: Sequence[Comparison]) -> str:
    baseline, epsilon = rows[0].baseline, rows[0].epsilon

    def value(model: str) -> float:
        figure = evaluation.figure(model, WORST_CASE, epsilon, "accuracy")
        return math.nan if figure is None else figure.value

    low, high = (f"{pick(value(row.model) for row in rows):.2f}" for pick in (min, max))
    return (
        f"At ε {wording.budget(epsilon, evaluation.about.norm)}, {wording.listed([row.model for row in rows])} "
        f"{'is' if len(rows) == 1 else 'are'} {than} than {baseline}: worst-case accuracy "
        f"{low if low == high else f'{low} to {high}'} against {value(baseline):.2f}."
    )


def _key_figures(evaluation: Evaluation, model: str) -> tuple[KeyFigure, ...]:
    about, budgets = evaluation.about, evaluation.about.epsilons
    conditions: dict[str, tuple[str, float]] = {"clean": (CLEAN, 0.0)}
    if budgets:
        conditions |= {"smallest": (WORST_CASE, budgets[0]), "largest": (WORST_CASE, budgets[-1])}
    # With one budget the smallest is the largest: shown once.
    wanted = dict.fromkeys(
        (metric.name, *place)
        for name, place in conditions.items()
        for metric in METRICS.resolve_all()
        if name in metric.headline
    )
    found = (
        KeyFigure(
            wording.metric(metric, about.task).label,
            "clean images" if attack == CLEAN else f"worst case, ε {wording.budget(epsilon, about.norm)}",
            evaluation.figure(model, attack, epsilon, metric),
            _note(evaluation, metric),
        )
        for metric, attack, epsilon in wanted
    )
    return tuple(each for each in found if each.figure is not None)


def _note(evaluation: Evaluation, metric: str) -> str:
    """Return which classes a metric is about, where its name does not say so."""
    return f"{', '.join(evaluation.about.task.malignant)} called benign" if metric == "missed_malignant" else ""
