"""The square attack: a random search that sees only the classifier's answers."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from dermrobust.attacks.attack import TargetedAttack
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.restarts import best_of_restarts
from dermrobust.attacks.threat import Images, Norm


class Square(TargetedAttack):
    """Squares at random places, changed by the whole budget, kept where they help (Andriushchenko et al. 2020).

    arXiv 1912.00049, for L-infinity. It needs no gradient: a model that only hides its gradients falls to it.
    """

    norms: ClassVar[tuple[Norm, ...]] = (Norm.LINF,)
    iterative: ClassVar[bool] = True

    attack: Literal["square"] = "square"
    queries: int = Field(5000, ge=1, le=1_000_000, description="Images shown to the classifier for each image.")
    initial_share: float = Field(0.8, gt=0, le=1, description="Of an image's area, covered by the first squares.")
    restarts: int = Field(1, ge=1, le=1000, description="Searches; what does worst on an image counts.")

    def perturb(self, problem: Problem) -> Images:
        """See `Attack.perturb`."""
        from dermrobust.attacks.square_step import square_attack

        return best_of_restarts(
            problem.exactly(), lambda part: square_attack(part, self.queries, self.initial_share), self.restarts
        )
