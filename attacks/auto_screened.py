"""AutoAttack-style ensemble at full length on the images that a short version of it does not decide."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from dermrobust.attacks.apgd import check_targets
from dermrobust.attacks.attack import Attack
from dermrobust.attacks.auto import Auto
from dermrobust.attacks.kinds import Kind
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.restarts import Margins, shortfalls
from dermrobust.attacks.square import Square
from dermrobust.attacks.threat import Images, Norm


class AutoScreened(Attack):
    """`auto` in a short form on every image, and at full length where the short form leaves the outcome open.

    The short form has a few steps of each APGD run and a few queries of the Square attack. An image counts as robust
    without the full form only if the gradients of the short form lowered its margin (the logit of the true class minus
    the largest other one), but not to near zero, and clearly more than the queries did. All other images are attacked
    with `steps` and `queries`, so that none is left because gradients vanish or mislead. Under L2 there are no queries
    to compare with.

    Leaving images with a large remaining margin is the idea of Liu et al. 2022 (arXiv 2203.05154). Their share is
    taken of all images together; here an image is judged by itself, so that its result does not depend on others.
    It is a heuristic: the full form could break an image that is left. `stronger` is therefore `auto`.
    """

    kind: ClassVar[Kind] = Kind.ITERATIVE
    norms: ClassVar[tuple[Norm, ...]] = (Norm.LINF, Norm.L2)

    attack: Literal["auto_screened"] = "auto_screened"
    steps: int = Field(100, ge=1, le=10_000, description="Gradient steps of each APGD run in the full form.")
    targets: int | None = Field(
        None, ge=1, le=1000, description="Number of wrong classes to aim at, most likely first; null: all, at most 9."
    )
    queries: int = Field(
        5000, ge=0, le=1_000_000, description="Queries of the Square attack in the full form; 0: none."
    )
    screening_steps: int = Field(5, ge=1, le=10_000, description="Gradient steps of each APGD run in the short form.")
    screening_queries: int = Field(
        100, ge=0, le=1_000_000, description="Queries of the Square attack in the short form; 0: none."
    )
    least_margin: float = Field(
        0.1, ge=0, le=1, description="Share of its clean margin that an image must keep in the short form to be left."
    )
    least_gain: float = Field(
        0.05, ge=0, le=1, description="Share of its clean margin that an image must lose to gradients to be left."
    )
    least_lead: float = Field(
        1.5, gt=0, description="Least ratio of what gradients and what queries take off the margin for it to be left."
    )

    def check_classes(self, count: int) -> None:
        """See `Attack.check_classes`."""
        check_targets(self.attack, self.targets, count)

    def stronger(self) -> Auto:
        """Return the full form for every image: what it breaks was left by mistake."""
        return Auto(steps=self.steps, targets=self.targets, queries=self.queries)

    def perturb(self, problem: Problem) -> Images:
        """See `Attack.perturb`; always stops at success, since the result is which images are broken."""
        problem = dataclasses.replace(problem, stop_at_success=True)
        worst = Auto(steps=self.screening_steps, targets=self.targets, queries=0).perturb(problem)
        margin = shortfalls(problem, worst)
        searched = self._search(problem, worst, margin)
        clean = shortfalls(problem, problem.images)
        near = margin < self.least_margin * clean
        gain = clean - margin
        stuck = gain < self.least_gain * clean
        misled = gain < self.least_lead * (clean - searched)
        undecided = np.flatnonzero((margin > 0) & (searched > 0) & (near | stuck | misled))
        if len(undecided):
            worst[undecided] = self.stronger().perturb(problem.take(undecided))
        return worst

    def _search(self, problem: Problem, worst: Images, margin: Margins) -> Margins:
        """Attack what stands by queries, replace what they break in `worst`, and return the margins that they reach.

        Where there are no queries, the margin is infinite.
        """
        standing = np.flatnonzero(margin > 0)
        searched = np.full(len(margin), np.inf, np.float32)
        if len(standing) and self.screening_queries and problem.threat.norm in Square.norms:
            part = problem.take(standing)
            found = Square(queries=self.screening_queries).perturb(part)
            searched[standing] = shortfalls(part, found)
            broken = searched[standing] <= 0
            worst[standing[broken]] = found[broken]
        return searched
