"""Auto-PGD with three losses."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from dermrobust.attacks.attack import IterativeAttack, TargetedAttack
from dermrobust.attacks.errors import UserError
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.restarts import Try, best_of_restarts, worst_of
from dermrobust.attacks.threat import Images, Norm

DLR_CLASSES, TARGETED_DLR_CLASSES = 3, 4
"""Least number of classes for which the ratios are defined: they divide by the third and fourth largest logit."""
_MOST_TARGETS = 9
"""Target classes of AutoAttack's standard version, which makes its cost independent of the number of classes."""
APGD_NORMS = (Norm.LINF, Norm.L2, Norm.L1)
"""Norms that Auto-PGD is defined for."""


class APGDCE(IterativeAttack, TargetedAttack):
    """Auto-PGD on cross-entropy (Croce & Hein 2020, arXiv 2003.01690; under L1 Croce & Hein 2021, arXiv 2103.01208)."""

    norms: ClassVar[tuple[Norm, ...]] = APGD_NORMS

    attack: Literal["apgd_ce"] = "apgd_ce"
    steps: int = Field(100, ge=1, le=10_000, description="Gradient steps.")
    restarts: int = Field(1, ge=1, le=1000, description="Random starts of each image; the worst result counts.")

    def perturb(self, problem: Problem) -> Images:
        """See `Attack.perturb`."""
        from dermrobust.attacks import losses
        from dermrobust.attacks.apgd_step import auto_pgd

        loss = losses.targeted_cross_entropy if problem.targeted else losses.cross_entropy
        return best_of_restarts(problem, lambda part: auto_pgd(part, loss, self.steps), self.restarts)


class APGDDLR(IterativeAttack):
    """Auto-PGD on the difference-of-logits ratio (Croce & Hein 2020, arXiv 2003.01690).

    For models so confident that the gradient of their cross-entropy vanishes.
    """

    norms: ClassVar[tuple[Norm, ...]] = APGD_NORMS

    attack: Literal["apgd_dlr"] = "apgd_dlr"
    steps: int = Field(100, ge=1, le=10_000, description="Gradient steps.")
    restarts: int = Field(1, ge=1, le=1000, description="Random starts of each image; the worst result counts.")

    def check_classes(self, count: int) -> None:
        """See `Attack.check_classes`."""
        _need_classes(self.attack, count, DLR_CLASSES)

    def perturb(self, problem: Problem) -> Images:
        """See `Attack.perturb`."""
        from dermrobust.attacks import losses
        from dermrobust.attacks.apgd_step import auto_pgd

        return best_of_restarts(
            problem, lambda part: auto_pgd(part, losses.difference_of_logits_ratio, self.steps), self.restarts
        )


class APGDTargeted(IterativeAttack):
    """Auto-PGD on the targeted difference-of-logits ratio, towards each of the most likely wrong classes in turn.

    Croce & Hein 2020, arXiv 2003.01690.
    """

    norms: ClassVar[tuple[Norm, ...]] = APGD_NORMS

    attack: Literal["apgd_t"] = "apgd_t"
    steps: int = Field(100, ge=1, le=10_000, description="Gradient steps towards each class.")
    targets: int | None = Field(
        None, ge=1, le=1000, description="Number of wrong classes to aim at, most likely first; null: all, at most 9."
    )

    def check_classes(self, count: int) -> None:
        """See `Attack.check_classes`."""
        _need_classes(self.attack, count, TARGETED_DLR_CLASSES)
        check_targets(self.attack, self.targets, count)

    def perturb(self, problem: Problem) -> Images:
        """See `Attack.perturb`."""
        chosen = self.targets or min(class_count(problem) - 1, _MOST_TARGETS)
        return worst_of(problem, (self._towards(rank) for rank in range(chosen)))

    def _towards(self, rank: int) -> Try:
        def attempt(problem: Problem) -> Images:
            from dermrobust.attacks import losses
            from dermrobust.attacks.apgd_step import auto_pgd
            from dermrobust.attacks.logits import logits_of

            logits = logits_of(problem.exactly().target, problem.images, problem.batch_size)
            logits[np.arange(len(logits)), problem.labels] = -np.inf
            # Stable: between equal logits every platform aims at the same class.
            goals = np.argsort(-logits, axis=1, kind="stable")[:, rank]
            # The goal only directs the gradient. An image that ends in another wrong class is broken as well.
            aimed = problem.with_seeds(rank).with_goals(goals, any_error_counts=True)
            return auto_pgd(aimed, losses.targeted_difference_of_logits_ratio, self.steps)

        return attempt


def check_targets(attack: str, targets: int | None, count: int) -> None:
    """Refuse more target classes than a model has wrong classes.

    Raises:
        UserError: there are fewer.
    """
    if targets is not None and targets > count - 1:
        raise UserError(
            f"{attack}: targets is {targets}, but of the model's {count} classes only {count - 1} are wrong ones"
        )


def class_count(problem: Problem) -> int:
    """Return the number of classes of a problem's model."""
    from dermrobust.attacks.logits import logits_of

    return int(logits_of(problem.target, problem.images[:1], problem.batch_size).shape[1])


def _need_classes(attack: str, count: int, least: int) -> None:
    if count < least:
        raise UserError(f"{attack}: its loss needs {least} classes, but the model has {count}; use apgd_ce")
