"""Attack that knows of the rejector: the image must be misclassified and not be referred."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from dermrobust.attacks.apgd import APGD_NORMS
from dermrobust.attacks.attack import IterativeAttack
from dermrobust.attacks.errors import AttackError
from dermrobust.attacks.problem import Indices, Labels, Problem
from dermrobust.attacks.threat import Images, Norm

Flags = npt.NDArray[np.bool_]
Logits = npt.NDArray[np.float32]

_MOST_TARGETS = 9
"""As of targeted Auto-PGD: cost does not grow with the number of classes."""


class Evading(IterativeAttack):
    """Auto-PGD towards each wrong class in turn, on its margin over the other classes and over being referred.

    An adaptive attack in the sense of Tramèr et al. 2020 (arXiv 2002.08347): its loss is the defence as a whole. It is
    an attack on targets of `rejecting_target`, and stops on an image once a wrong class is the decision there.
    """

    norms: ClassVar[tuple[Norm, ...]] = APGD_NORMS

    attack: Literal["evading"] = "evading"
    steps: int = Field(50, ge=1, le=10_000, description="Gradient steps towards each class.")
    targets: int | None = Field(
        None, ge=1, le=1000, description="Number of wrong classes to aim at, most likely first; null: all, at most 9."
    )
    classes: tuple[int, ...] | None = Field(
        None, description="Labels of the classes that may be aimed at, and that count as success; null: all wrong ones."
    )

    def perturb(self, problem: Problem) -> Images:
        """See `Attack.perturb`; images that are not broken are those closest to success."""
        logits = self._logits(problem, problem.images)
        # The last class is that of referred images.
        aimed = self._aimed(problem.labels, logits.shape[1] - 1)
        likely = np.where(aimed, logits[:, :-1], -np.inf)
        # Stable: between equal logits every platform aims at the same class.
        order = np.argsort(-likely, axis=1, kind="stable")
        result, best = problem.images.copy(), np.full(len(logits), -np.inf, np.float32)
        broken = _is_aimed_at(aimed, logits.argmax(axis=1))
        for rank in range(min(self.targets or _MOST_TARGETS, int(aimed.sum(axis=1).max()))):
            goals = order[:, rank]
            tried = np.flatnonzero(~broken & _is_aimed_at(aimed, goals))
            if not len(tried):
                continue
            moved = self._towards(problem, rank, tried, goals[tried])
            found = self._logits(problem.take(tried), moved)
            reached = _is_aimed_at(aimed[tried], found.argmax(axis=1))
            score = np.where(reached, np.inf, _lead(found, goals[tried]))
            better = score > best[tried]
            result[tried[better]] = moved[better]
            best[tried[better]] = score[better]
            broken[tried[reached]] = True
        return result

    def _aimed(self, labels: Labels, count: int) -> Flags:
        """Return the classes that are a success for each image: bool [image, class]."""
        wrong = np.arange(count) != labels[:, None]
        return wrong if self.classes is None else wrong & np.isin(np.arange(count), self.classes)

    def _towards(self, problem: Problem, rank: int, tried: Indices, goals: Labels) -> Images:
        from dermrobust.attacks import losses
        from dermrobust.attacks.apgd_step import auto_pgd

        part = problem.take(tried).with_seeds(rank).with_goals(goals)
        return auto_pgd(dataclasses.replace(part, stop_at_success=True), losses.targeted_margin, self.steps)

    def _logits(self, problem: Problem, images: Images) -> Logits:
        from dermrobust.attacks.logits import logits_of

        logits = logits_of(problem.exactly().target, images, problem.batch_size)
        if not np.isfinite(logits[:, -1]).all() or np.isnan(logits).any():
            raise AttackError("the model's logits became NaN under attack")
        return logits


def _is_aimed_at(aimed: Flags, classes: npt.NDArray[np.int64]) -> Flags:
    """Return whether each image's class is one that is a success; that of referred images, the last, never is."""
    known = classes < aimed.shape[1]
    return np.asarray(known & aimed[np.arange(len(aimed)), np.where(known, classes, 0)])


def _lead(logits: Logits, goals: Labels) -> npt.NDArray[np.float32]:
    """Return the goal's logit minus the largest other one: float32 [image]."""
    index = np.arange(len(goals))
    others = logits.copy()
    others[index, goals] = -np.inf
    return np.asarray(logits[index, goals] - others.max(axis=1))
