"""Self-checks of the strength of the attacks, after Carlini et al. 2019 (arXiv 1902.06705)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from dermrobust.attacks.kinds import WHITE_BOX, Kind, named
from dermrobust.components.evaluation.checks import Check, Shown, Status
from dermrobust.components.evaluation.intervals import wilson_interval
from dermrobust.components.evaluation.probes import LARGE, MORE_RESTARTS, MORE_STEPS
from dermrobust.components.measure.checks.evidence import Evidence, Tried

POINTS = 0.005
"""Differences in accuracy below half a point are noise."""
MUCH = 0.02
KEPT = 0.25
"""A defence that keeps less than this share of its gain against an adaptive attacker only resists transfer."""
GAIN = 0.1


def iterative_beats_single_step(evidence: Evidence) -> Iterator[Check]:
    """Check that iterative attacks break at least as much as single-step ones; else gradients are probably masked."""
    for model in evidence.models:
        gaps = {
            epsilon: several - single
            for epsilon in evidence.budgets
            if (several := evidence.strongest(model, epsilon, Kind.ITERATIVE)) is not None
            and (single := evidence.strongest(model, epsilon, Kind.SINGLE_STEP)) is not None
        }
        if not gaps:
            continue
        worst = max(gaps.values())
        slack = max(POINTS, 1.5 / max(1, evidence.images(model)))
        bad = worst > slack
        yield Check(
            name="iterative",
            title="Many steps beat one",
            model=model,
            status=Status.FAIL if bad else Status.PASS,
            sentence=(
                f"One step breaks up to {_points(worst)} more than many: gradients are masked, or the attack is wrong."
                if bad
                else "Iterative attacks are at least as strong as single-step ones at every budget."
            ),
            figures={f"iterative minus single step at {_budget(epsilon)}": gap for epsilon, gap in gaps.items()},
        )


def converged(evidence: Evidence) -> Iterator[Check]:
    """Check that twice the steps or restarts break hardly any image more."""
    for model in evidence.models:
        found = list(evidence.tried(model, MORE_STEPS, MORE_RESTARTS))
        if not found:
            continue
        worst = max(found, key=lambda tried: tried.share)
        bad = worst.share >= POINTS
        yield Check(
            name="converged",
            title="Twice the effort changes nothing",
            model=model,
            status=Status.WARN if bad else Status.PASS,
            sentence=(
                f"'{worst.attack}' with {worst.probe} takes another {_points(worst.share)} at {_budget(worst.epsilon)}"
                "; what it found counts in the worst case. Give the attack more steps or restarts."
                if bad
                else f"Twice the steps and twice the restarts change robust accuracy by less than {_points(POINTS)}."
            ),
            figures=_fallen(found),
        )


def falls_with_budget(evidence: Evidence) -> Iterator[Check]:
    """Check that robust accuracy never rises with the budget."""
    for model in evidence.models:
        curve = [evidence.clean(model), *(evidence.worst_case(model, epsilon) for epsilon in evidence.budgets)]
        rise = max(later - earlier for earlier, later in itertools.pairwise(curve))
        bad = rise > max(POINTS, 1.5 / max(1, evidence.images(model)))
        yield Check(
            name="budget",
            title="Robustness falls with the budget",
            model=model,
            status=Status.FAIL if bad else Status.PASS,
            sentence=(
                f"Robust accuracy rises by {_points(rise)} with a larger budget, which holds every smaller one: "
                "the attacks are not at their best."
                if bad
                else "Robust accuracy never rises with the budget."
            ),
            figures={"clean": curve[0], **dict(zip(map(_budget, evidence.budgets), curve[1:], strict=True))},
        )


def broken_by_a_large_budget(evidence: Evidence) -> Iterator[Check]:
    """Check that a budget that makes images unrecognizable leaves no more than chance."""
    for model in evidence.models:
        for tried in evidence.tried(model, LARGE):
            left = tried.left / tried.images
            lower, _ = wilson_interval(left, tried.images)
            status = Status.PASS if left <= evidence.chance else Status.WARN
            if lower > evidence.chance:
                status = Status.FAIL
            yield Check(
                name="large_budget",
                title="A large budget breaks it",
                model=model,
                status=status,
                sentence=(
                    f"At {_budget(tried.epsilon)} no more is left than chance."
                    if status is Status.PASS
                    else f"At {_budget(tried.epsilon)}, which hides any image, {left:.1%} still stand (chance "
                    f"{evidence.chance:.1%}): the attack does not see what the model sees."
                ),
                figures={"robust accuracy": left, "chance": evidence.chance, "images": tried.images},
            )


def white_box_beats_black_box(evidence: Evidence) -> Iterator[Check]:
    """Check that black-box and transfer attacks break no more than white-box ones; otherwise gradients are masked."""
    for model in evidence.models:
        found = list(evidence.tried(model, Kind.BLACK_BOX, Kind.TRANSFER))
        beyond = {
            f"{_budget(tried.epsilon)}, {tried.attack}: broken beyond white-box": tried.share
            for tried in found
            if tried.fell > 1
        }
        for epsilon in evidence.budgets:
            white = evidence.strongest(model, epsilon, *WHITE_BOX)
            other = evidence.strongest(model, epsilon, Kind.BLACK_BOX, Kind.TRANSFER)
            if white is not None and other is not None and white - other > POINTS:
                beyond[f"{_budget(epsilon)}: lower accuracy than under white-box attacks by"] = white - other
        if not found and not named(evidence.attacks, Kind.BLACK_BOX, Kind.TRANSFER):
            continue
        worst = max(beyond.values(), default=0.0)
        status = Status.PASS if worst <= POINTS else Status.FAIL if worst > MUCH else Status.WARN
        yield Check(
            name="black_box",
            title="Black-box attacks are not stronger",
            model=model,
            status=status,
            sentence=(
                "Attacks that see no gradient, and images crafted on another model, break nothing that white-box "
                "attacks leave standing."
                if status is Status.PASS
                else f"An attacker without gradients takes up to {_points(worst)} more than one with them: gradients "
                "are masked, or the white-box attacks too weak."
            ),
            figures={
                "images tried": max((tried.images for tried in found), default=evidence.images(model)),
                **beyond,
            },
        )


def noise_is_weakest(evidence: Evidence) -> Iterator[Check]:
    """Check that random noise breaks no image that withstands the attacks."""
    for model in evidence.models:
        found = list(evidence.tried(model, Kind.NOISE))
        gaps = [
            white - noise
            for epsilon in evidence.budgets
            if (white := evidence.strongest(model, epsilon, *WHITE_BOX)) is not None
            and (noise := evidence.strongest(model, epsilon, Kind.NOISE)) is not None
        ]
        worst = max([*(tried.share for tried in found if tried.fell > 1), *gaps, 0.0])
        status = Status.PASS if worst <= POINTS else Status.FAIL if worst > MUCH else Status.WARN
        yield Check(
            name="noise",
            title="Random noise is weakest",
            model=model,
            status=status,
            sentence=(
                "Random noise of the same size breaks nothing that attacks leave standing."
                if status is Status.PASS
                else f"Random noise takes {_points(worst)} more than the attacks: gradients are probably masked."
            ),
            figures=_fallen(found),
        )


def control_breaks(evidence: Evidence) -> Iterator[Check]:
    """Check that the attacks break an undefended model; otherwise they show nothing about a defended one."""
    title, name = "The undefended control breaks", "control"
    if evidence.control is None:
        sentence = "There is no undefended model beside it, so nothing shows that these attacks work here at all."
        yield Check(name=name, title=title, model=None, status=Status.WARN, sentence=sentence, figures={})
        return
    largest = evidence.budgets[-1]
    clean, left = evidence.clean(evidence.control), evidence.worst_case(evidence.control, largest)
    status = Status.PASS if left <= evidence.chance else Status.WARN if left <= clean / 2 else Status.FAIL
    yield Check(
        name=name,
        title=title,
        model=None,
        status=status,
        sentence=f"The attacks take '{evidence.control}' from {clean:.1%} to {left:.1%} at {_budget(largest)}"
        + (
            ", chance or below."
            if status is Status.PASS
            else f", above chance ({evidence.chance:.1%}): they are weak, or the budgets small."
        ),
        figures={"clean": clean, "worst case": left, "chance": evidence.chance, "budget": _budget(largest)},
    )


def adaptive_robustness(evidence: Evidence) -> Iterator[Check]:
    """Check that a defense keeps most of its gain against transferred images when it is attacked itself."""
    for model in evidence.models:
        if model == evidence.control or evidence.control is None:
            continue
        kept: dict[float, float] = {}
        for loss in evidence.losses:
            undefended = evidence.worst_case(evidence.control, loss.epsilon)
            if loss.model == model and loss.transferred - undefended > GAIN:
                share = (loss.adaptive - undefended) / (loss.transferred - undefended)
                kept[loss.epsilon] = min(share, kept.get(loss.epsilon, 1.0))
        if not kept:
            continue
        hollow = [epsilon for epsilon, share in kept.items() if share < KEPT]
        status = Status.PASS if not hollow else Status.FAIL if 2 * len(hollow) > len(kept) else Status.WARN
        yield Check(
            name="adaptive",
            title="Robust to more than transfer",
            model=model,
            status=status,
            sentence=(
                "What it gains against images crafted on the undefended model it keeps when it is attacked itself."
                if status is Status.PASS
                else "It withstands images crafted on the undefended model, but keeps less than a quarter of that gain "
                f"when it is attacked itself (at {', '.join(map(_budget, sorted(hollow)))}): no robustness there."
            ),
            figures={f"share of the gain kept at {_budget(epsilon)}": share for epsilon, share in kept.items()},
        )


def _fallen(found: list[Tried]) -> dict[str, Shown]:
    return {
        "images tried": max((tried.images for tried in found), default=0),
        **{
            f"{_budget(tried.epsilon)}, {tried.attack}, {tried.probe}: broken beyond the attacks": tried.share
            for tried in found
            if tried.fell
        },
    }


def _budget(epsilon: float) -> str:
    return f"{epsilon:g}/255"


def _points(share: float) -> str:
    return f"{100 * share:.1f} points"
