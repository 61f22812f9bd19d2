"""Fast gradient sign method."""

from __future__ import annotations

from typing import Literal

from dermrobust.attacks.attack import TargetedAttack
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.threat import Images


class FGSM(TargetedAttack):
    """One step of the size of the budget along the gradient's sign (Goodfellow et al. 2015, arXiv 1412.6572)."""

    attack: Literal["fgsm"] = "fgsm"

    def perturb(self, problem: Problem) -> Images:
        """See `Attack.perturb`; deterministic, so the seeds are not used."""
        from dermrobust.attacks.cleverhans.gradient_step import gradient_steps

        return gradient_steps(problem, lambda part: part.images, step_size=problem.threat.radius, steps=1)
