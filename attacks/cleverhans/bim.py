"""Basic iterative method."""

from __future__ import annotations

from typing import Literal

from dermrobust.attacks.cleverhans.fixed_step import FixedStepAttack
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.threat import Images


class BIM(FixedStepAttack):
    """Repeated gradient-sign steps from the clean image (Kurakin et al. 2017, arXiv 1607.02533)."""

    attack: Literal["bim"] = "bim"

    def perturb(self, problem: Problem) -> Images:
        """See `Attack.perturb`; deterministic, so seeds are ignored."""
        from dermrobust.attacks.cleverhans.gradient_step import gradient_steps

        return gradient_steps(
            problem, lambda part: part.images, step_size=self.step_length(problem.threat), steps=self.steps
        )
