"""Momentum iterative method."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dermrobust.attacks.cleverhans.fixed_step import FixedStepAttack
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.threat import Images


class MIM(FixedStepAttack):
    """Steps along a decaying sum of gradients (Dong et al. 2018, arXiv 1710.06081)."""

    attack: Literal["mim"] = "mim"
    decay: float = Field(1.0, ge=0, le=10, description="Decay factor of the sum of past gradients; 0: no momentum.")

    def perturb(self, problem: Problem) -> Images:
        """See `Attack.perturb`; deterministic, so seeds are ignored."""
        from dermrobust.attacks.cleverhans.gradient_step import momentum_steps

        return momentum_steps(problem, step_size=self.step_length(problem.threat), steps=self.steps, decay=self.decay)
