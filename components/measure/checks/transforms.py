"""Self-checks of threat models beyond a norm: stored images, and the strength of the search."""

from __future__ import annotations

import itertools

from dermrobust.attacks.kinds import Kind, named
from dermrobust.attacks.transforms.threat import TransformThreat
from dermrobust.components.evaluation.conditions import condition_of, worst_case_of
from dermrobust.components.evaluation.names import canonical_epsilon
from dermrobust.components.measure.checks.check import Finding, graded, passes
from dermrobust.components.measure.checks.evidence import Evidence

POINTS, MUCH = 0.005, 0.02
"""Differences in accuracy that are noise, and that show that the adaptive search is at fault."""


def images_render_again(evidence: Evidence, model: str) -> Finding | None:
    """Check that every stored image is what its parameters make of the clean one, and that these are in bounds."""
    if not evidence.threats:
        return None
    read = [row for row in evidence.transformed if row["model"] == model]
    images, outside = sum(row["images"] for row in read), sum(row["outside"] for row in read)
    expected = evidence.images(model) * len(evidence.threats) * len(evidence.searches)
    bad = outside > 0 or not images or images != expected
    sentence = (
        f"All {images:,} transformed images were rendered again from their parameters, which are within the threat."
    )
    if bad:
        sentence = (
            f"{outside} of {expected} stored images are not what their parameters make of the clean image, have "
            "parameters out of bounds, or are missing."
        )
    return passes(not bad), sentence, {"images": images, "outside": outside}


def adaptive_beats_controls(evidence: Evidence, model: str) -> Finding | None:
    """Check that random and grid search break no more than the adaptive search; else the latter is too weak."""
    gained: dict[str, float] = {}
    behind = 0.0
    for threat in evidence.threats:
        adaptive = _lowest(evidence, model, threat, Kind.ITERATIVE)
        control = _lowest(evidence, model, threat, Kind.NOISE)
        if adaptive is None or control is None:
            continue
        gained[f"accuracy under controls minus adaptive, {threat}"] = control - adaptive
        behind = max(behind, adaptive - control)
    if not gained:
        return None
    sentence = f"Random and grid search take no more than {100 * POINTS:g} points beyond the adaptive search."
    if behind > POINTS:
        sentence = (
            f"Random or grid search takes {100 * behind:.1f} points more than the adaptive search, which is too weak "
            "here; what they found counts in the worst case. Give the adaptive search more starts or steps."
        )
    return graded(behind, POINTS, MUCH), sentence, gained


def falls_with_strength(evidence: Evidence, model: str) -> Finding | None:
    """Check that robust accuracy never rises with the strength of a family."""
    figures: dict[str, float] = {}
    rise = 0.0
    for family in dict.fromkeys(threat.family for threat in evidence.threats):
        strengths = sorted(threat.strength for threat in evidence.threats if threat.family == family)
        found = {
            strength: evidence.accuracy(model, worst_case_of(family), canonical_epsilon(strength))
            for strength in strengths
        }
        curve = [evidence.clean(model), *(value for value in found.values() if value is not None)]
        rise = max(rise, *(later - earlier for earlier, later in itertools.pairwise(curve)), 0.0)
        figures |= {f"{family}:{strength:g}": value for strength, value in found.items() if value is not None}
    if not figures:
        return None
    bad = rise > max(POINTS, 1.5 / max(1, evidence.images(model)))
    sentence = "Robust accuracy never rises with the strength of a threat."
    if bad:
        sentence = (
            f"Robust accuracy rises by {100 * rise:.1f} points with a larger strength, which holds every smaller one: "
            "the search is not at its best."
        )
    return passes(not bad), sentence, figures


def _lowest(evidence: Evidence, model: str, threat: TransformThreat, kind: Kind) -> float | None:
    found = (
        evidence.accuracy(model, condition_of(threat.family, name), canonical_epsilon(threat.strength))
        for name in named(evidence.searches, kind)
    )
    return min((value for value in found if value is not None), default=None)
