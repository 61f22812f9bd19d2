"""Minimal perturbation of each image: its robust radius, up to a budget."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field

from dermrobust.attacks.attack import Attack
from dermrobust.attacks.auto import Auto
from dermrobust.attacks.fab import FAB, towards_likely
from dermrobust.attacks.kinds import Kind
from dermrobust.attacks.minimizing import Minimizing, within_budget
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.restarts import Try
from dermrobust.attacks.selection import AnyAttack
from dermrobust.attacks.threat import Images, Norm, ThreatModel

_SMALLEST = 1e-3
"""Fraction of the budget below which no smaller L2 radius is looked for."""


class Minimal(Minimizing):
    """The nearest misclassified image of each image, within the budget.

    FAB (Croce & Hein 2020, arXiv 1907.02044) finds an upper bound of the distance. Then `confirmed_by` attacks each
    image at smaller and smaller budgets below its bound, until it fails. An image's radius is thus the last budget,
    from the largest down, before that attack fails for the first time: accuracy over the radius is the whole curve of
    robust accuracy, from one run. In L-infinity budgets are whole levels, so the radius of a stored image is a multiple
    of 1/255.
    """

    kind: ClassVar[Kind] = Kind.ITERATIVE

    attack: Literal["minimal"] = "minimal"
    steps: int = Field(30, ge=1, le=10_000, description="Steps of FAB towards each class.")
    targets: int = Field(3, ge=1, le=1000, description="Number of wrong classes that FAB aims at, most likely first.")
    confirmed_by: AnyAttack = Field(
        default_factory=Auto, description="Attack that must fail at every budget below the radius."
    )
    resolution: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.03, description="Ratio of successive L2 budgets is 1 minus this; in L-infinity they are whole levels."
    )

    @property
    def norms(self) -> tuple[Norm, ...]:
        """See `Attack.norms`; those that both FAB and the attack that confirms are defined for."""
        return tuple(norm for norm in self.confirmed_by.norms if norm in FAB().norms)

    @property
    def sources(self) -> frozenset[str]:
        """See `Attack.sources`."""
        return self.confirmed_by.sources

    @property
    def parts(self) -> tuple[Attack, ...]:
        """See `Attack.parts`."""
        return (self.confirmed_by,)

    def stronger(self) -> Self:
        """See `Attack.stronger`; the attack that confirms is made stronger, too."""
        confirmed_by = self.confirmed_by.stronger() or self.confirmed_by
        return self.model_copy(update={"steps": 2 * self.steps, "confirmed_by": confirmed_by})

    def perturb(self, problem: Problem) -> Images:
        """Return the nearest misclassified image of each image, whatever `Problem.stop_at_success` says.

        Where there is none within the budget, the image is as `confirmed_by` left it at the whole budget.
        """
        # The exact model throughout: whether an image has a radius must not depend on an approximation.
        problem = dataclasses.replace(problem.exactly(), stop_at_success=True)
        search = _Search(problem)
        for rank in range(min(self.targets, search.class_count - 1)):
            search.attempt(problem.threat, search.open, _fab(self.steps, rank))
        for level in _levels(problem.threat, self.resolution):
            farther = search.open & (search.distance > level.radius * (1 + 1e-5))
            search.open &= ~farther | search.attempt(level, farther, self.confirmed_by.perturb)
        return search.nearest


class _Search:
    """Nearest known misclassified image of each image.

    Attributes:
        class_count: number of classes.
        open: images of which a nearer one is looked for, bool [count].
        distance: distance of the nearest one on the scale of the images, float64 [count]; infinity where none is known.
        nearest: the nearest one.
    """

    def __init__(self, problem: Problem) -> None:
        logits = self._logits(problem, problem.images)
        self._problem = problem
        self.class_count = logits.shape[1]
        self.open = np.asarray(logits.argmax(axis=1) == problem.labels)
        self.distance = np.where(self.open, np.inf, 0.0)
        self.nearest = problem.images.copy()

    def attempt(self, threat: ThreatModel, chosen: npt.NDArray[np.bool_], attack: Try) -> npt.NDArray[np.bool_]:
        """Attack the chosen images within a budget, keep what is nearer, and return which of all images were broken."""
        broken = np.zeros(len(chosen), bool)
        places = np.flatnonzero(chosen)
        if not len(places):
            return broken
        part = dataclasses.replace(self._problem.take(places), threat=threat)
        found = attack(part)
        length = threat.distance(found, part.images)
        wrong = self._logits(part, found).argmax(axis=1) != part.labels
        # By float rounding an image on the surface of the budget may lie beyond it.
        wrong &= length <= threat.radius * (1 + 1e-5)
        # Where nothing is known yet, a failed attempt is kept, so that the result shows how near it came.
        better = (wrong & (length < self.distance[places])) | np.isinf(self.distance[places])
        self.nearest[places[better]] = found[better]
        self.distance[places] = np.where(wrong, np.minimum(length, self.distance[places]), self.distance[places])
        broken[places] = wrong
        return broken

    @staticmethod
    def _logits(problem: Problem, images: Images) -> npt.NDArray[np.float32]:
        from dermrobust.attacks.logits import logits_of

        # The exact model decides, as everywhere.
        return logits_of(problem.exactly().target, images, problem.batch_size)


def _fab(steps: int, rank: int) -> Try:
    def attempt(problem: Problem) -> Images:
        from dermrobust.attacks.fab_step import fast_adaptive_boundary

        # It must not stop at the first image in the budget, since the nearest one is looked for.
        aimed = dataclasses.replace(towards_likely(problem, rank), stop_at_success=False)
        found = fast_adaptive_boundary(aimed, steps, random_start=False)
        return within_budget(problem, found)

    return attempt


def _levels(threat: ThreatModel, resolution: float) -> Iterator[ThreatModel]:
    """Yield budgets from the largest to the smallest that is tried."""
    if threat.norm is Norm.L2:
        count = math.floor(math.log(_SMALLEST) / math.log(1 - resolution))
        budgets = [threat.epsilon * (1 - resolution) ** number for number in range(count + 1)]
    else:
        budgets = [threat.epsilon, *range(math.ceil(threat.epsilon) - 1, 0, -1)]
    return (dataclasses.replace(threat, epsilon=float(epsilon)) for epsilon in budgets)
