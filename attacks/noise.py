"""Random noise."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from dermrobust.attacks.attack import Attack
from dermrobust.attacks.kinds import Kind
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.randomness import random_change
from dermrobust.attacks.restarts import best_of_restarts
from dermrobust.attacks.threat import Images, Norm


class Noise(Attack):
    """Random perturbation inside the budget, or the worst of several: uniform, under L1 and L0 sparse.

    It uses no gradient and is the control of all other attacks: images that it breaks need no attacker. A uniformly
    random point of an L1 ball would change each value by so little that nothing is left of it in 8 bits. There, values
    in random order are moved to a random bound until the budget is used up. Under L0 random pixels get random corners
    of the color cube.
    """

    kind: ClassVar[Kind] = Kind.NOISE
    norms: ClassVar[tuple[Norm, ...]] = tuple(Norm)

    attack: Literal["noise"] = "noise"
    draws: int = Field(1, ge=1, le=10_000, description="Random perturbations of an image; the worst one counts.")

    def perturb(self, problem: Problem) -> Images:
        """See `Attack.perturb`."""
        return best_of_restarts(problem, random_change, self.draws)
