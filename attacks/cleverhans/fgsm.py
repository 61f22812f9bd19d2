"""Fast gradient sign method."""

from __future__ import annotations

from typing import ClassVar, Literal

from dermrobust.attacks.attack import TargetedAttack
from dermrobust.attacks.kinds import Kind
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.threat import Images


class FGSM(TargetedAttack):
    """One gradient-sign step as long as the budget (Goodfellow et al. 2015, arXiv 1412.6572)."""

    kind: ClassVar[Kind] = Kind.SINGLE_STEP

    attack: Literal["fgsm"] = "fgsm"

    def perturb(self, problem: Problem) -> Images:
        """See `Attack.perturb`; deterministic, so seeds are ignored."""
        from dermrobust.attacks.cleverhans.gradient_step import gradient_steps

        return gradient_steps(problem, lambda part: part.images, step_size=problem.threat.radius, steps=1)
