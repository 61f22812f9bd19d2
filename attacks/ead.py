"""Elastic-net attack."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from dermrobust.attacks.attack import IterativeAttack, TargetedAttack
from dermrobust.attacks.minimizing import within_budget
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.threat import Images, Norm


class EAD(IterativeAttack, TargetedAttack):
    """FISTA on margin, L2 and L1 distance, with a binary search for the weight of the margin.

    Chen et al. 2018, arXiv 1709.04114, with the L1 decision rule. It minimizes the distance to a misclassified image
    and knows no budget. Perturbations longer than the budget are scaled down to it and then mostly fail.
    """

    norms: ClassVar[tuple[Norm, ...]] = (Norm.L1,)

    attack: Literal["ead"] = "ead"
    steps: int = Field(100, ge=1, le=10_000, description="Gradient steps for each weight of the margin.")
    binary_search_steps: int = Field(9, ge=1, le=30, description="Number of weights of the margin that are tried.")
    learning_rate: float = Field(
        0.01, gt=0, le=10, description="First step size, on images in [0, 1]; it falls to 0 with the square root."
    )
    initial_const: float = Field(0.001, gt=0, le=1e6, description="First weight of the margin against the distance.")
    beta: float = Field(
        0.01, ge=0, le=1, description="Threshold of each step, on images in [0, 1]: smaller changes are set to 0."
    )
    confidence: float = Field(0.0, ge=0, le=1000, description="Logit margin by which an image must be misclassified.")

    def perturb(self, problem: Problem) -> Images:
        """See `Attack.perturb`."""
        from dermrobust.attacks.ead_step import Descent, elastic_net

        descent = Descent(
            self.steps, self.binary_search_steps, self.learning_rate, self.initial_const, self.beta, self.confidence
        )
        return within_budget(problem, elastic_net(problem, descent))
