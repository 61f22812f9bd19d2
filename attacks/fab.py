"""Fast Adaptive Boundary attack."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from dermrobust.attacks.apgd import check_targets, class_count
from dermrobust.attacks.attack import IterativeAttack
from dermrobust.attacks.minimizing import within_budget
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.restarts import Try, worst_of
from dermrobust.attacks.threat import Images

_MOST_TARGETS = 9
"""Target classes of AutoAttack's standard version."""


class FAB(IterativeAttack):
    """Steps to the nearest linearized decision boundary (Croce & Hein 2020, arXiv 1907.02044).

    It minimizes the distance to a misclassified image and needs no step size. A step costs a gradient for each class.
    Perturbations longer than the budget are scaled down to it and then mostly fail.
    """

    attack: Literal["fab"] = "fab"
    steps: int = Field(100, ge=1, le=10_000, description="Steps, each to a linearized decision boundary.")
    restarts: int = Field(
        1, ge=1, le=1000, description="Starts: the clean image, then random ones; the worst result counts."
    )

    def perturb(self, problem: Problem) -> Images:
        """See `Attack.perturb`."""
        return worst_of(problem, (_try(self.steps, number) for number in range(self.restarts)))


class FABTargeted(IterativeAttack):
    """FAB towards each of the most likely wrong classes in turn: one gradient for each step.

    Croce & Hein 2020, arXiv 2003.01690, section 4. As published, any wrong class is a success.
    """

    attack: Literal["fab_t"] = "fab_t"
    steps: int = Field(100, ge=1, le=10_000, description="Steps towards each class.")
    targets: int | None = Field(
        None, ge=1, le=1000, description="Number of wrong classes to aim at, most likely first; null: all, at most 9."
    )
    restarts: int = Field(
        1, ge=1, le=1000, description="Starts for each class: the clean image, then random ones; the worst counts."
    )

    def check_classes(self, count: int) -> None:
        """See `Attack.check_classes`."""
        check_targets(self.attack, self.targets, count)

    def perturb(self, problem: Problem) -> Images:
        """See `Attack.perturb`."""
        chosen = self.targets or min(class_count(problem) - 1, _MOST_TARGETS)
        tries = (_try(self.steps, number, rank) for rank in range(chosen) for number in range(self.restarts))
        return worst_of(problem, tries)


def towards_likely(problem: Problem, rank: int) -> Problem:
    """Return a problem that aims at the wrong class of a rank on the clean images, 0 for the most likely one.

    Any other wrong class is a success as well.
    """
    from dermrobust.attacks.logits import logits_of

    logits = logits_of(problem.exactly().target, problem.images, problem.batch_size)
    logits[np.arange(len(logits)), problem.labels] = -np.inf
    # Stable: between equal logits every platform aims at the same class.
    goals = np.argsort(-logits, axis=1, kind="stable")[:, rank]
    return problem.with_seeds(rank).with_goals(goals, any_error_counts=True)


def _try(steps: int, number: int, rank: int | None = None) -> Try:
    """Return start `number`, towards the class of a rank or the nearest; its result is moved into the budget."""

    def attempt(problem: Problem) -> Images:
        from dermrobust.attacks.fab_step import fast_adaptive_boundary

        part = problem if rank is None else towards_likely(problem, rank)
        found = fast_adaptive_boundary(part.with_seeds(number), steps, random_start=number > 0)
        return within_budget(problem, found)

    return attempt
