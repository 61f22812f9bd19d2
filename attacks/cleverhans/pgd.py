"""Projected gradient descent."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dermrobust.attacks.cleverhans.fixed_step import FixedStepAttack
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.randomness import random_start
from dermrobust.attacks.restarts import best_of_restarts
from dermrobust.attacks.threat import Images


class PGD(FixedStepAttack):
    """Repeated gradient-sign steps, each projected into the budget (Madry et al. 2018, arXiv 1706.06083)."""

    attack: Literal["pgd"] = "pgd"
    random_start: bool = Field(True, description="Start from a uniformly random point of the budget.")
    restarts: int = Field(1, ge=1, le=1000, description="Random starts of each image; the worst result counts.")

    def perturb(self, problem: Problem) -> Images:
        """See `Attack.perturb`."""
        # Without a random start every restart would end at the same image.
        tries = self.restarts if self.random_start else 1
        return best_of_restarts(problem, self._once, tries)

    def _once(self, problem: Problem) -> Images:
        from dermrobust.attacks.cleverhans.gradient_step import gradient_steps

        start = random_start if self.random_start else lambda part: part.images
        return gradient_steps(problem, start, step_size=self.step_length(problem.threat), steps=self.steps)
