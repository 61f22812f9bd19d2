"""Self-checks of the strength of the attacks, after Carlini et al. 2019 (arXiv 1902.06705)."""

from __future__ import annotations

import itertools

from dermrobust.attacks.kinds import WHITE_BOX, Kind, named
from dermrobust.attacks.threat import Norm
from dermrobust.components.evaluation.checks import Status
from dermrobust.components.evaluation.intervals import wilson_interval
from dermrobust.components.evaluation.masking import MUCH, POINTS, Tried, slack
from dermrobust.components.evaluation.names import BEFORE_ESCALATION
from dermrobust.components.evaluation.probes import LARGE, MORE_RESTARTS, MORE_STEPS
from dermrobust.components.measure.checks.check import Finding, graded, passes
from dermrobust.components.measure.checks.evidence import Evidence

KEPT = 0.25
"""A defense that keeps less than this share of its gain against an adaptive attacker only resists transfer."""
GAIN = 0.1


def iterative_beats_single_step(evidence: Evidence, model: str) -> Finding | None:
    """Check that iterative attacks break at least as much as single-step ones; else gradients are probably masked."""
    gaps = evidence.gaps(model, (Kind.ITERATIVE,), (Kind.SINGLE_STEP,))
    if not gaps:
        return None
    worst = max(gaps.values())
    bad = worst > slack(evidence.images(model))
    sentence = "Iterative attacks are at least as strong as single-step ones at every budget."
    if bad:
        sentence = (
            f"One step breaks up to {_points(worst)} more than many: gradients are masked, or the attack is wrong."
        )
    return (
        passes(not bad),
        sentence,
        {f"iterative minus single step at {evidence.written(e)}": gap for e, gap in gaps.items()},
    )


def converged(evidence: Evidence, model: str) -> Finding | None:
    """Check that twice the steps or restarts break hardly any image more."""
    found = list(evidence.tried(model, MORE_STEPS, MORE_RESTARTS))
    if not found:
        return None
    worst = max(found, key=lambda tried: tried.share)
    bad = worst.share >= POINTS
    sentence = f"Twice the steps and twice the restarts change robust accuracy by less than {_points(POINTS)}."
    if bad:
        sentence = (
            f"'{worst.attack}' with {worst.probe} takes another {_points(worst.share)} at "
            f"{evidence.written(worst.epsilon)}; what it found counts in the worst case. Give the attack more steps or "
            "restarts."
        )
    return passes(not bad, Status.WARN), sentence, _fallen(evidence, found)


def falls_with_budget(evidence: Evidence, model: str) -> Finding:
    """Check that robust accuracy never rises with the budget."""
    curve = [evidence.clean(model), *(evidence.worst_case(model, epsilon) for epsilon in evidence.budgets)]
    rise = max(later - earlier for earlier, later in itertools.pairwise(curve))
    bad = rise > slack(evidence.images(model))
    sentence = "Robust accuracy never rises with the budget."
    if bad:
        sentence = (
            f"Robust accuracy rises by {_points(rise)} with a larger budget, which holds every smaller one: "
            "the attacks are not at their best."
        )
    figures = dict(zip(("clean", *map(evidence.written, evidence.budgets)), curve, strict=True))
    return passes(not bad), sentence, figures


def broken_by_a_large_budget(evidence: Evidence, model: str) -> Finding | None:
    """Check that a budget that makes images unrecognizable leaves no more than chance."""
    # One probe at one budget; see `planned_probes`.
    tried = next(evidence.tried(model, LARGE), None)
    if tried is None:
        return None
    left = tried.left / tried.images
    lower, _ = wilson_interval(left, tried.images)
    status = Status.FAIL if lower > evidence.chance else passes(left <= evidence.chance, Status.WARN)
    sentence = f"At {evidence.written(tried.epsilon)} no more is left than chance."
    if status is not Status.PASS:
        sentence = (
            f"At {evidence.written(tried.epsilon)}, which hides any image, {left:.1%} are still right (chance "
            f"{evidence.chance:.1%}): the attack does not see what the model sees."
        )
    return status, sentence, {"robust accuracy": left, "chance": evidence.chance, "images": tried.images}


def white_box_beats_black_box(evidence: Evidence, model: str) -> Finding | None:
    """Check that black-box and transfer attacks break no more than white-box ones; otherwise gradients are masked."""
    # Under L0 no attack follows gradients, so that there is nothing to be stronger than.
    if evidence.black_box(model) or evidence.norm is Norm.L0:
        return None
    found = list(evidence.tried(model, Kind.BLACK_BOX, Kind.TRANSFER))
    if not found and not named(evidence.attacks, Kind.BLACK_BOX, Kind.TRANSFER):
        return None
    beyond = {
        f"{evidence.written(tried.epsilon)}, {tried.attack}: broken beyond white-box": tried.share
        for tried in found
        if tried.fell > 1
    }
    for epsilon, gap in evidence.gaps(model, WHITE_BOX, (Kind.BLACK_BOX, Kind.TRANSFER)).items():
        if gap > POINTS:
            beyond[f"{evidence.written(epsilon)}: lower accuracy than under white-box attacks by"] = gap
    worst = max(beyond.values(), default=0.0)
    status = graded(worst, POINTS, MUCH)
    sentence = (
        "Attacks that see no gradient, and images crafted on another model, break nothing that withstands white-box "
        "attacks."
    )
    if status is not Status.PASS:
        sentence = (
            f"An attacker without gradients takes up to {_points(worst)} more than one with them: gradients "
            "are masked, or the white-box attacks too weak."
        )
    images = max((tried.images for tried in found), default=evidence.images(model))
    return status, sentence, {"images tried": images, **beyond}


def noise_is_weakest(evidence: Evidence, model: str) -> Finding:
    """Check that random noise breaks no image that withstands the attacks."""
    found = list(evidence.tried(model, Kind.NOISE))
    gaps = evidence.gaps(model, WHITE_BOX, (Kind.NOISE,))
    worst = max([*(tried.share for tried in found if tried.fell > 1), *gaps.values(), 0.0])
    status = graded(worst, POINTS, MUCH)
    sentence = "Random noise of the same size breaks nothing that withstands the attacks."
    if status is not Status.PASS:
        sentence = f"Random noise takes {_points(worst)} more than the attacks: gradients are probably masked."
    return status, sentence, _fallen(evidence, found)


def masked_gradients_are_passed(evidence: Evidence, model: str) -> Finding | None:
    """Check what attacks through masked gradients take from a model that fails a self-check for them."""
    escalation = evidence.escalations.get(model)
    if escalation is None:
        return None
    before = {epsilon: evidence.accuracy(model, BEFORE_ESCALATION, epsilon) for epsilon in evidence.budgets}
    taken = {
        epsilon: value - evidence.worst_case(model, epsilon) for epsilon, value in before.items() if value is not None
    }
    epsilon = max(taken, key=lambda each: taken[each])
    reason = f"Self-checks of masked gradients fail ({', '.join(escalation.signs)})"
    if escalation.random:
        reason += f", and an image counts as broken if the model errs in most of {escalation.evaluations} evaluations"
    bad = taken[epsilon] > POINTS
    sentence = (
        f"{reason}; attacks that pass through such gradients change robust accuracy by less than {_points(POINTS)}."
    )
    if bad:
        after = evidence.worst_case(model, epsilon)
        sentence = (
            f"{reason}; attacks that pass through such gradients take robust accuracy at {evidence.written(epsilon)} "
            f"from {after + taken[epsilon]:.1%} to {after:.1%}, which is the figure that counts."
        )
    figures = {f"before escalation at {evidence.written(each)}": value for each, value in before.items()}
    figures |= {
        f"after escalation at {evidence.written(each)}": evidence.worst_case(model, each) for each in evidence.budgets
    }
    return passes(not bad, Status.WARN), sentence, figures


def control_breaks(evidence: Evidence) -> Finding:
    """Check that the attacks break an undefended model; otherwise they show nothing about a defended one."""
    if evidence.control is None:
        sentence = "There is no undefended model beside it, so nothing shows that these attacks work here at all."
        return Status.WARN, sentence, {}
    largest = evidence.budgets[-1]
    clean, left = evidence.clean(evidence.control), evidence.worst_case(evidence.control, largest)
    status = graded(left, evidence.chance, max(clean / 2, evidence.chance))
    says = ", chance or below."
    if status is not Status.PASS:
        says = f", above chance ({evidence.chance:.1%}): they are weak, or the budgets small."
    sentence = (
        f"The attacks take '{evidence.control}' from {clean:.1%} to {left:.1%} at {evidence.written(largest)}{says}"
    )
    return (
        status,
        sentence,
        {
            **{"clean": clean, "worst case": left, "chance": evidence.chance},
            "budget": evidence.written(largest),
        },
    )


def adaptive_robustness(evidence: Evidence, model: str) -> Finding | None:
    """Check that a defense keeps most of its gain against transferred images when it is attacked itself."""
    if model == evidence.control or evidence.control is None:
        return None
    kept: dict[float, float] = {}
    for loss in evidence.losses:
        undefended = evidence.worst_case(evidence.control, loss.epsilon)
        if loss.model == model and loss.transferred - undefended > GAIN:
            share = (loss.adaptive - undefended) / (loss.transferred - undefended)
            kept[loss.epsilon] = min(share, kept.get(loss.epsilon, 1.0))
    if not kept:
        return None
    hollow = [epsilon for epsilon, share in kept.items() if share < KEPT]
    status = Status.PASS if not hollow else Status.FAIL if 2 * len(hollow) > len(kept) else Status.WARN
    sentence = "What it gains against images crafted on the undefended model it keeps when it is attacked itself."
    if hollow:
        sentence = (
            "It withstands images crafted on the undefended model, but keeps less than a quarter of that gain "
            f"when it is attacked itself (at {', '.join(map(evidence.written, sorted(hollow)))}): no robustness there."
        )
    return (
        status,
        sentence,
        {f"share of the gain kept at {evidence.written(epsilon)}": share for epsilon, share in kept.items()},
    )


def _fallen(evidence: Evidence, found: list[Tried]) -> dict[str, float]:
    fallen = {
        f"{evidence.written(tried.epsilon)}, {tried.attack}, {tried.probe}: broken beyond the attacks": tried.share
        for tried in found
        if tried.fell
    }
    return {"images tried": max((tried.images for tried in found), default=0), **fallen}


def _points(share: float) -> str:
    return f"{100 * share:.1f} points"
