"""What a reader must know first: the verdict, the few figures that it is about, and checks that speak against them."""

from __future__ import annotations

from dataclasses import dataclass

from dermrobust.pipeline.report import wording
from dermrobust.pipeline.report.evaluation import CLEAN, WORST_CASE, Check, Evaluation, Figure


@dataclass(frozen=True)
class KeyFigure:
    """A figure of the candidate and under which attack it was measured."""

    label: str
    under: str
    figure: Figure | None


@dataclass(frozen=True)
class Headline:
    """The verdict: "blessed", "refused" or "not-gated", in words, with its reasons.

    Attributes:
        model: that it is about; the candidate, or without a gate the first model.
        failing: checks that say that the figures of this model must not be believed as they are.
    """

    state: str
    title: str
    sentence: str
    model: str
    key_figures: tuple[KeyFigure, ...]
    failing: tuple[Check, ...]


def headline(evaluation: Evaluation) -> Headline:
    """Return the verdict on the candidate."""
    blessing = evaluation.blessing
    model = (blessing.candidate if blessing else evaluation.about.candidate) or evaluation.about.models[0]
    failing = tuple(c for c in evaluation.checks or () if c.status == "fail" and c.model in (None, model))
    state, title, sentence = _verdict(evaluation, model)
    return Headline(state, title, sentence, model, _key_figures(evaluation, model), failing)


def _verdict(evaluation: Evaluation, model: str) -> tuple[str, str, str]:
    blessing = evaluation.blessing
    if blessing is None or not (blessing.thresholds or blessing.checks):
        return "not-gated", "Not gated", "No threshold was set, so this evaluation neither blesses nor refuses a model."
    judged = [verdict for verdict in blessing.thresholds if verdict.judged]
    missed = [verdict for verdict in judged if not verdict.passed]
    if blessing.blessed:
        return "blessed", "Blessed", f"Model {model} meets every threshold that could be judged ({len(judged)})."
    reasons = []
    if missed:
        reasons.append(f"it misses {len(missed)} of {len(judged)} thresholds")
    if blessing.checks:
        reasons.append(f"{len(blessing.checks)} checks of the evaluation stand in the way")
    if not reasons:
        reasons.append("no threshold could be judged" if not judged else "the validation as a whole did not hold")
    return "refused", "Refused", f"Model {model} must not be exported: {' and '.join(reasons)}."


def _key_figures(evaluation: Evaluation, model: str) -> tuple[KeyFigure, ...]:
    norm, budgets = evaluation.about.norm, evaluation.about.epsilons
    wanted = [("balanced_accuracy", CLEAN, 0.0), ("accuracy", CLEAN, 0.0)]
    wanted += [("accuracy", WORST_CASE, epsilon) for epsilon in sorted({min(budgets), max(budgets)})] if budgets else []
    wanted += [("malignant_to_benign", WORST_CASE, epsilon) for epsilon in budgets[:1]]
    wanted += [("melanoma_sensitivity", CLEAN, 0.0)]
    found = (
        KeyFigure(
            wording.metric(metric).label,
            "clean images" if attack == CLEAN else f"worst case, ε {wording.budget(epsilon, norm)}",
            evaluation.figure(model, attack, epsilon, metric),
        )
        for metric, attack, epsilon in wanted
    )
    return tuple(each for each in found if each.figure is not None)
