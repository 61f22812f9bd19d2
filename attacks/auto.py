"""AutoAttack-style ensemble without FAB."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from dermrobust.attacks.apgd import (
    APGD_NORMS,
    APGDCE,
    TARGETED_DLR_CLASSES,
    APGDTargeted,
    check_targets,
    class_count,
)
from dermrobust.attacks.attack import IterativeAttack
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.restarts import Try, worst_of
from dermrobust.attacks.square import Square
from dermrobust.attacks.threat import Images, Norm


class Auto(IterativeAttack):
    """APGD on cross-entropy, targeted APGD and the Square attack, each on the images that still stand.

    The ensemble of AutoAttack (Croce & Hein 2020, arXiv 2003.01690) without FAB. An image is robust if no member
    breaks it. With fewer than four classes the targeted ratio is undefined, and APGD maximizes the margin instead.
    The Square attack is left out under norms that it is not defined for.
    """

    norms: ClassVar[tuple[Norm, ...]] = APGD_NORMS

    attack: Literal["auto"] = "auto"
    steps: int = Field(100, ge=1, le=10_000, description="Gradient steps of each APGD run.")
    restarts: int = Field(1, ge=1, le=1000, description="Random starts of APGD on cross-entropy.")
    targets: int | None = Field(
        None, ge=1, le=1000, description="Number of wrong classes to aim at, most likely first; null: all, at most 9."
    )
    queries: int = Field(5000, ge=0, le=1_000_000, description="Number of queries of the Square attack; 0 disables it.")

    def check_classes(self, count: int) -> None:
        """See `Attack.check_classes`."""
        check_targets(self.attack, self.targets, count)

    def perturb(self, problem: Problem) -> Images:
        """See `Attack.perturb`; always stops at success, since the result is which images are broken."""
        return worst_of(dataclasses.replace(problem, stop_at_success=True), self._members(problem))

    def _members(self, problem: Problem) -> Iterator[Try]:
        # Cheapest first: each member runs on what is left, and most images are broken by the first.
        yield APGDCE(steps=self.steps, restarts=self.restarts).perturb
        if class_count(problem) < TARGETED_DLR_CLASSES:
            yield self._on_the_margin
        else:
            yield APGDTargeted(steps=self.steps, targets=self.targets).perturb
        if self.queries and problem.threat.norm in Square.norms:
            yield Square(queries=self.queries).perturb

    def _on_the_margin(self, problem: Problem) -> Images:
        from dermrobust.attacks import losses
        from dermrobust.attacks.apgd_step import auto_pgd

        # Other seeds than APGD on cross-entropy, which has just failed from its random start.
        return auto_pgd(problem.with_seeds(1), losses.margin, self.steps)
