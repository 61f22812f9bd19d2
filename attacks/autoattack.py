"""Published versions of AutoAttack."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

from pydantic import Field

from dermrobust.attacks.apgd import APGDCE, APGDDLR, APGDTargeted
from dermrobust.attacks.attack import Attack, IterativeAttack
from dermrobust.attacks.fab import FAB, FABTargeted
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.restarts import worst_of
from dermrobust.attacks.square import Square
from dermrobust.attacks.threat import Images, Norm

_PLUS_RESTARTS = 5
"""Starts of the untargeted members of version `plus`."""


class AutoStandard(IterativeAttack):
    """AutoAttack, version `standard` (Croce & Hein 2020, arXiv 2003.01690), in L-infinity.

    APGD on cross-entropy, targeted APGD, targeted FAB and the Square attack, each on the images that still stand. With
    the default parameters it is the published version. It needs four classes.
    """

    norms: ClassVar[tuple[Norm, ...]] = (Norm.LINF,)

    attack: Literal["auto_standard"] = "auto_standard"
    steps: int = Field(100, ge=1, le=10_000, description="Steps of APGD and FAB from each start or towards each class.")
    queries: int = Field(5000, ge=1, le=1_000_000, description="Number of queries of the Square attack.")

    @property
    def parts(self) -> tuple[Attack, ...]:
        """See `Attack.parts`."""
        return (
            APGDCE(steps=self.steps),
            APGDTargeted(steps=self.steps),
            FABTargeted(steps=self.steps),
            Square(queries=self.queries),
        )

    def perturb(self, problem: Problem) -> Images:
        """See `Attack.perturb`; always stops at success, since the result is which images are broken."""
        return _worst_of_parts(self, problem)


class AutoPlus(IterativeAttack):
    """AutoAttack, version `plus` (Croce & Hein 2020, arXiv 2003.01690), in L-infinity.

    The members of `auto_standard`, untargeted APGD on the difference-of-logits ratio and untargeted FAB; untargeted
    members start five times. With the default parameters it is the published version. It needs four classes.
    """

    norms: ClassVar[tuple[Norm, ...]] = (Norm.LINF,)

    attack: Literal["auto_plus"] = "auto_plus"
    steps: int = Field(100, ge=1, le=10_000, description="Steps of APGD and FAB from each start or towards each class.")
    queries: int = Field(5000, ge=1, le=1_000_000, description="Number of queries of the Square attack.")

    @property
    def parts(self) -> tuple[Attack, ...]:
        """See `Attack.parts`."""
        return (
            APGDCE(steps=self.steps, restarts=_PLUS_RESTARTS),
            APGDDLR(steps=self.steps, restarts=_PLUS_RESTARTS),
            FAB(steps=self.steps, restarts=_PLUS_RESTARTS),
            Square(queries=self.queries),
            APGDTargeted(steps=self.steps),
            FABTargeted(steps=self.steps),
        )

    def perturb(self, problem: Problem) -> Images:
        """See `Attack.perturb`; always stops at success, since the result is which images are broken."""
        return _worst_of_parts(self, problem)


def _worst_of_parts(attack: Attack, problem: Problem) -> Images:
    return worst_of(dataclasses.replace(problem, stop_at_success=True), [part.perturb for part in attack.parts])
