"""Random noise."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from dermrobust.attacks.attack import Attack
from dermrobust.attacks.kinds import Kind
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.randomness import random_start
from dermrobust.attacks.restarts import best_of_restarts
from dermrobust.attacks.threat import Images


class Noise(Attack):
    """Uniformly random perturbation inside the budget, or the worst of several.

    It uses no gradient and is the control of all other attacks: images that it breaks need no attacker.
    """

    kind: ClassVar[Kind] = Kind.NOISE

    attack: Literal["noise"] = "noise"
    draws: int = Field(1, ge=1, le=10_000, description="Random perturbations of an image; the worst one counts.")

    def perturb(self, problem: Problem) -> Images:
        """See `Attack.perturb`."""
        return best_of_restarts(problem, random_start, self.draws)
