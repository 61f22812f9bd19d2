"""Sparse-RS, random search over few pixels."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from dermrobust.attacks.attack import TargetedAttack
from dermrobust.attacks.kinds import Kind
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.restarts import best_of_restarts
from dermrobust.attacks.threat import Images, Norm


class SparseRS(TargetedAttack):
    """Random search over the places and colors of few pixels (Croce et al. 2022, arXiv 2006.12834, L0).

    It queries outputs only. Each query exchanges some of the changed pixels for others, which get random corners of
    the color cube; how many, falls as published.
    """

    kind: ClassVar[Kind] = Kind.BLACK_BOX
    norms: ClassVar[tuple[Norm, ...]] = (Norm.L0,)

    attack: Literal["sparse_rs"] = "sparse_rs"
    queries: int = Field(5000, ge=1, le=1_000_000, description="Queries of the model for each image.")
    initial_share: float = Field(
        0.3, gt=0, le=1, description="Fraction of the changed pixels that the schedule of exchanges starts from."
    )
    restarts: int = Field(1, ge=1, le=1000, description="Independent searches on an image; the worst result counts.")

    def perturb(self, problem: Problem) -> Images:
        """See `Attack.perturb`."""
        from dermrobust.attacks.sparse_rs_step import sparse_random_search

        # The exact model: an approximation saves nothing where no gradient is computed.
        return best_of_restarts(
            problem.exactly(), lambda part: sparse_random_search(part, self.queries, self.initial_share), self.restarts
        )
