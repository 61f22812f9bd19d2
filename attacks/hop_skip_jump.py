"""HopSkipJump, an attack by decisions alone."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from dermrobust.attacks.kinds import Kind
from dermrobust.attacks.minimizing import Minimizing, within_budget
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.threat import Images


class HopSkipJump(Minimizing):
    """Steps along the decision boundary, towards the clean image (Chen, Jordan & Wainwright 2020, arXiv 1904.02144).

    It uses nothing but the predicted class. The direction of a step is estimated from the classes of random changes.
    Perturbations longer than the budget are shortened to it and then mostly fail. An image for which no start is found
    stays as it is and counts as robust.
    """

    kind: ClassVar[Kind] = Kind.BLACK_BOX

    attack: Literal["hop_skip_jump"] = "hop_skip_jump"
    queries: int = Field(
        5000,
        ge=1,
        le=1_000_000,
        description="Largest number of queries of the model for each image; checks and scores ask a few more times.",
    )
    initial_samples: int = Field(
        100, ge=2, le=10_000, description="Random changes for the first direction; step t has sqrt(t) times as many."
    )
    smallest_change: float = Field(
        1.0,
        ge=0,
        le=255,
        description="Least size of the random changes of a value, in 1/255: of smaller ones nothing is left in 8 bits.",
    )

    def perturb(self, problem: Problem) -> Images:
        """See `Attack.perturb`."""
        from dermrobust.attacks.hop_skip_jump_steps import hop_skip_jump

        found, _ = hop_skip_jump(
            problem, self.queries, initial_samples=self.initial_samples, smallest_change=self.smallest_change
        )
        return within_budget(problem, found)
