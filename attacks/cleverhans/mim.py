"""Momentum iterative method."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dermrobust.attacks.cleverhans.iterative import IterativeAttack
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.threat import Images


class MIM(IterativeAttack):
    """Steps along the decaying sum of past gradients (Dong et al. 2018, arXiv 1710.06081)."""

    attack: Literal["mim"] = "mim"
    decay: float = Field(1.0, ge=0, le=10, description="Of the sum of past gradients; 0: the last one alone.")

    def perturb(self, problem: Problem) -> Images:
        """See `Attack.perturb`; deterministic, so the seeds are not used."""
        from dermrobust.attacks.cleverhans.gradient_step import momentum_steps

        return momentum_steps(problem, step_size=self.step_length(problem.threat), steps=self.steps, decay=self.decay)
