"""The suite `auto`: what is left after it has a claim to be robust."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from dermrobust.attacks.apgd import APGDCE, TARGETED_DLR_CLASSES, APGDTargeted, check_targets, class_count
from dermrobust.attacks.attack import Attack
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.restarts import Try, worst_of
from dermrobust.attacks.square import Square
from dermrobust.attacks.threat import Images


class Auto(Attack):
    """APGD on cross-entropy, targeted APGD, then the square attack: each on what still stands.

    The ensemble of AutoAttack (Croce & Hein 2020, arXiv 2003.01690) without FAB. Per-example worst case: an image is
    robust if no member breaks it. Where the targeted ratio is not defined (fewer than four classes), APGD raises the
    plain margin instead.
    """

    iterative: ClassVar[bool] = True

    attack: Literal["auto"] = "auto"
    steps: int = Field(100, ge=1, le=10_000, description="Gradient steps of each APGD.")
    restarts: int = Field(1, ge=1, le=1000, description="Random starts of APGD on cross-entropy.")
    targets: int | None = Field(
        None, ge=1, le=1000, description="Wrong classes, likeliest first; null: all, but nine at most as published."
    )
    queries: int = Field(5000, ge=0, le=1_000_000, description="Of the square attack; 0: leave it out.")

    def check_classes(self, count: int) -> None:
        """See `Attack.check_classes`."""
        check_targets(self.attack, self.targets, count)

    def perturb(self, problem: Problem) -> Images:
        """See `Attack.perturb`; it always stops at success, for its result is about which images fall."""
        return worst_of(dataclasses.replace(problem, stop_at_success=True), self._members(problem))

    def _members(self, problem: Problem) -> Iterator[Try]:
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

        return auto_pgd(problem.with_seeds(1), losses.margin, self.steps)
