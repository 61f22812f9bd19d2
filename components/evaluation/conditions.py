"""Names of conditions with a family, as the column `attack` has them: "colour/adaptive", "certified/0.25".

The family stands before the slash, so no condition of one threat model is ever taken for one of another: the worst case
of L-infinity is "worst_case" and that of colour "colour/worst_case". Names of attacks have no slash. `epsilon` is the
strength of the threat, `norm` the family.

A classifier that is smoothed with noise of deviation 0.25 has two conditions: "certified/0.25", where the accuracy at
an epsilon is what is certified within this L2 radius, a lower bound; and "smoothed/0.25", where it is what attacks on
the smoothed classifier leave, an upper bound. At epsilon 0 the images are clean.

A classifier that refers images of low confidence at a rate of 0.2 has the conditions "referral/0.2/none",
"referral/0.2/pgd" and "referral/0.2/worst_case": clean images, each attack, and all of them with one that knows of the
rejector.
"""

from __future__ import annotations

from dermrobust.components.evaluation.names import WORST_CASE

_SLASH = "/"
CERTIFIED, SMOOTHED = "certified", "smoothed"
"""Families of the conditions of a smoothed classifier: its certificates, and attacks on it."""

REFERRAL = "referral"
"""First part of the families of conditions of a classifier that refers images."""


def condition_of(family: str, search: str) -> str:
    """Return the name of a search, or of the worst case, under a family of transformations."""
    return f"{family}{_SLASH}{search}"


def worst_case_of(family: str | None) -> str:
    """Return the name of the worst case of a family; None: of the norm."""
    return WORST_CASE if family is None else condition_of(family, WORST_CASE)


def family_of(condition: str) -> str | None:
    """Return the family of transformations of a condition; None: clean images, or an attack under the norm."""
    family, slash, _ = condition.rpartition(_SLASH)
    return family if slash else None


def search_of(condition: str) -> str:
    """Return the name of an attack or search, or "worst_case", without its family."""
    return condition.rpartition(_SLASH)[2]


def of_smoothing(family: str, sigma: float) -> str:
    """Return the name of a condition of the classifier that is smoothed with noise of a deviation."""
    return condition_of(family, f"{sigma:g}")


def is_of_smoothing(condition: str) -> bool:
    """Return whether a condition is one of a smoothed classifier; its epsilon is an L2 radius in 1/255."""
    return family_of(condition) in (CERTIFIED, SMOOTHED)


def of_referral(rate: float, attack: str) -> str:
    """Return the name of a condition of the classifier that refers images at a rate."""
    return condition_of(f"{REFERRAL}{_SLASH}{rate:g}", attack)


def is_of_referral(condition: str) -> bool:
    """Return whether a condition is one of a classifier that refers images; its epsilon is a budget under the norm."""
    return condition.startswith(f"{REFERRAL}{_SLASH}")


def rate_of(condition: str) -> str:
    """Return the referral rate of a condition as its name has it."""
    return condition.split(_SLASH)[1]
