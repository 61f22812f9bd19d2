"""Square attack."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from dermrobust.attacks.attack import TargetedAttack
from dermrobust.attacks.kinds import Kind
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.restarts import best_of_restarts
from dermrobust.attacks.threat import Images, Norm


class Square(TargetedAttack):
    """Random search over square perturbations (Andriushchenko et al. 2020, arXiv 1912.00049, L-infinity).

    It queries outputs only, so it also breaks models that merely mask their gradients.
    """

    kind: ClassVar[Kind] = Kind.BLACK_BOX
    norms: ClassVar[tuple[Norm, ...]] = (Norm.LINF,)

    attack: Literal["square"] = "square"
    queries: int = Field(5000, ge=1, le=1_000_000, description="Queries of the model for each image.")
    initial_share: float = Field(
        0.8, gt=0, le=1, description="Fraction of the image area that the first squares cover."
    )
    restarts: int = Field(1, ge=1, le=1000, description="Independent searches on an image; the worst result counts.")

    def perturb(self, problem: Problem) -> Images:
        """See `Attack.perturb`."""
        from dermrobust.attacks.square_step import square_attack

        # The exact model: an approximation saves nothing where no gradient is computed.
        return best_of_restarts(
            problem.exactly(), lambda part: square_attack(part, self.queries, self.initial_share), self.restarts
        )
