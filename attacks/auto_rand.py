"""AutoAttack for models that answer differently each time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from dermrobust.attacks.apgd import APGD_NORMS, DLR_CLASSES, class_count
from dermrobust.attacks.attack import IterativeAttack
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.restarts import Try, on_target, worst_of
from dermrobust.attacks.threat import Images, Norm


class AutoRand(IterativeAttack):
    """AutoAttack, version `rand` (Croce & Hein 2020, arXiv 2003.01690), for models with random answers.

    APGD on cross-entropy and on the difference-of-logits ratio, each on the images that still stand. Logits and
    gradients are means over `draws` (Expectation over Transformation, Athalye et al. 2018, arXiv 1802.00420), so that
    the loss is that of the mean logits. An image is broken if the model errs in most of `evaluations`, not in one that
    happened to be wrong. With fewer than three classes the ratio is undefined, and APGD maximizes the margin instead.
    """

    norms: ClassVar[tuple[Norm, ...]] = APGD_NORMS

    attack: Literal["auto_rand"] = "auto_rand"
    steps: int = Field(100, ge=1, le=10_000, description="Gradient steps of each APGD run.")
    draws: int = Field(20, ge=1, le=10_000, description="Answers that logits and gradients are the mean of.")
    evaluations: int = Field(11, ge=1, le=10_000, description="Evaluations of an image that decide on success.")

    @property
    def repeats(self) -> int:
        """See `Attack.repeats`."""
        return self.evaluations

    def perturb(self, problem: Problem) -> Images:
        """See `Attack.perturb`; always stops at success, since the result is which images are broken."""
        from dermrobust.attacks.averaging import voting_target

        judge = voting_target(problem.exactly().target, self.evaluations)
        return worst_of(dataclasses.replace(problem, target=judge, stop_at_success=True), self._members(problem))

    def _members(self, problem: Problem) -> Iterator[Try]:
        from dermrobust.attacks import losses
        from dermrobust.attacks.apgd_step import auto_pgd
        from dermrobust.attacks.averaging import averaged_target

        target = averaged_target(problem.exactly().target, self.draws, random=True)
        ratio = losses.difference_of_logits_ratio if class_count(problem) >= DLR_CLASSES else losses.margin
        # One lucky draw is no success: each run uses its whole budget.
        yield on_target(lambda part: auto_pgd(part, losses.cross_entropy, self.steps), target, stop_at_success=False)
        yield on_target(lambda part: auto_pgd(part, ratio, self.steps), target, stop_at_success=False)
