"""Names of conditions beyond a norm, as the column `attack` has them: "colour/adaptive", "colour/worst_case".

The family stands before the slash, so no condition of one threat model is ever taken for one of another: the worst case
of L-infinity is "worst_case" and that of colour "colour/worst_case". Names of attacks have no slash. `epsilon` is the
strength of the threat, `norm` the family.
"""

from __future__ import annotations

from dermrobust.components.evaluation.names import WORST_CASE

_SLASH = "/"


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
