"""Random noise, the control of every attack: a classifier that it breaks needs no attacker."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dermrobust.attacks.attack import Attack
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.randomness import random_start
from dermrobust.attacks.restarts import best_of_restarts
from dermrobust.attacks.threat import Images


class Noise(Attack):
    """A uniformly random point of the budget, or the worst of several; no gradient is used."""

    attack: Literal["noise"] = "noise"
    draws: int = Field(1, ge=1, le=10_000, description="Random points; the one that does worst on an image counts.")

    def perturb(self, problem: Problem) -> Images:
        """See `Attack.perturb`."""
        return best_of_restarts(problem, random_start, self.draws)
