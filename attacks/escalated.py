"""Attack on models that mask their gradients."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from dermrobust.attacks.apgd import APGD_NORMS, TARGETED_DLR_CLASSES, APGDTargeted, class_count
from dermrobust.attacks.attack import IterativeAttack
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.restarts import Try, on_target, worst_of
from dermrobust.attacks.square import Square
from dermrobust.attacks.threat import Images, Norm

if TYPE_CHECKING:
    from dermrobust.attacks.target import Target

_MOST_TARGETS = 3
_LEAST_SPREAD = 1.5 / 255
"""Smallest distance of evaluations around an image: with less, rounding to 8 bits gives the image itself."""


class Escalated(IterativeAttack):
    """Attacks that pass through masked gradients, each on the images that still stand.

    Auto-PGD on the margin and on targeted ratios of logits from before a final softmax, with straight-through gradients
    (`straight_through_target`), then with gradients of a smoothed classifier, then with gradients estimated from
    outputs; and the Square attack. Where the model answers differently each time, outputs and gradients are means over
    draws, and an image is broken if the model errs in most of `evaluations` (Athalye et al. 2018, arXiv 1802.00420;
    Tramèr et al. 2020, arXiv 2002.08347).
    """

    norms: ClassVar[tuple[Norm, ...]] = APGD_NORMS

    attack: Literal["escalated"] = "escalated"
    steps: int = Field(50, ge=1, le=10_000, description="Gradient steps of each run of Auto-PGD.")
    restarts: int = Field(2, ge=1, le=1000, description="Random starts of the runs on the margin.")
    draws: int = Field(16, ge=1, le=10_000, description="Evaluations that a gradient is the mean of.")
    samples: int = Field(
        64, ge=0, le=100_000, description="Pairs of queries that a gradient is estimated from; 0: none is estimated."
    )
    queries: int = Field(5000, ge=0, le=1_000_000, description="Number of queries of the Square attack; 0 disables it.")
    evaluations: int = Field(
        11, ge=1, le=10_000, description="Evaluations of an image that decide on success where the model is random."
    )

    @property
    def repeats(self) -> int:
        """See `Attack.repeats`."""
        return self.evaluations

    def perturb(self, problem: Problem) -> Images:
        """See `Attack.perturb`; always stops at success, since the result is which images are broken."""
        from dermrobust.attacks.averaging import voting_target
        from dermrobust.attacks.repeated import is_random
        from dermrobust.attacks.straight_through import straight_through_target

        exact = problem.exactly().target
        passed = straight_through_target(exact)
        random = is_random(exact, problem.images, problem.batch_size)
        judge = voting_target(exact, self.evaluations) if random else exact
        judged = dataclasses.replace(problem, target=judge, stop_at_success=True)
        return worst_of(judged, self._tries(problem, passed, random))

    def _tries(self, problem: Problem, passed: Target, random: bool) -> Iterator[Try]:
        from dermrobust.attacks.averaging import averaged_target

        spread = _spread(problem)
        direct = averaged_target(passed, self.draws, random=True) if random else passed
        smooth = averaged_target(passed, self.draws, spread=spread, random=random)
        # One lucky draw is no success: on a random model each run uses its whole budget.
        for target in (direct, smooth):
            for _ in range(self.restarts):
                yield on_target(self._on_the_margin, target, stop_at_success=not random)
            if target is direct and (wrong := class_count(problem) - 1) >= TARGETED_DLR_CLASSES - 1:
                targeted = APGDTargeted(steps=self.steps, targets=min(_MOST_TARGETS, wrong))
                yield on_target(targeted.perturb, target, stop_at_success=not random)
        if self.samples:
            estimated = averaged_target(passed, self.samples, spread=spread, random=random, estimated=True)
            yield on_target(self._on_the_margin, estimated, stop_at_success=not random)
        if self.queries and problem.threat.norm in Square.norms:
            yield on_target(Square(queries=self.queries).perturb, direct, stop_at_success=not random)

    def _on_the_margin(self, problem: Problem) -> Images:
        from dermrobust.attacks import losses
        from dermrobust.attacks.apgd_step import auto_pgd

        return auto_pgd(problem, losses.margin, self.steps)


def _spread(problem: Problem) -> float:
    """Return the distance of evaluations around an image: half the budget, but never within one level of 8 bits."""
    size = problem.images[0].size
    # How many times longer than its values a change is that is the same in all of them.
    longer = {Norm.LINF: 1.0, Norm.L2: math.sqrt(size), Norm.L1: size}[problem.threat.norm]
    return max(problem.threat.radius / 2 / longer, _LEAST_SPREAD * problem.threat.bounds.width)
