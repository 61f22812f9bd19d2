"""Universal perturbations: one for all images."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, Field

from dermrobust.attacks.attack import Attack, TargetedAttack
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.randomness import generator
from dermrobust.attacks.threat import Images, ThreatModel

Perturbation = npt.NDArray[np.float32]
"""float32 [height, width, 3], added to every image."""


class Universal(TargetedAttack):
    """One perturbation that makes a classifier err on most images (Moosavi-Dezfooli et al. 2017, arXiv 1610.08401).

    In the form that Hirano et al. used on skin lesions (2021, BMC Medical Imaging 21:9): each image on which it does
    not yet succeed adds a gradient step, and the sum is projected back into the budget. It is found on the problem's
    own images, or on others by `fit`.
    """

    iterative: ClassVar[bool] = True

    attack: Literal["universal"] = "universal"
    passes: int = Field(5, ge=1, le=1000, description="Passes over the images, at most.")
    step_size: float | None = Field(
        None, gt=0, le=1e6, description="Length of an image's step in 1/255; null: a tenth of epsilon."
    )
    success_rate: float = Field(0.95, gt=0, le=1, description="Share of images to mislead; then it is done.")
    images: int = Field(512, ge=1, le=100_000, description="Training images that it is found on in a pipeline.")

    def perturb(self, problem: Problem) -> Images:
        """See `Attack.perturb`; the perturbation is found on the problem's own images."""
        return apply(self.fit(problem), problem)

    def fit(self, problem: Problem) -> Perturbation:
        """Find the perturbation on a problem's images: float32 [height, width, 3], inside the budget."""
        from dermrobust.attacks.universal_search import best_perturbation

        order = generator(problem.seeds[0])
        return best_perturbation(
            problem, order, passes=self.passes, step_size=self._step_length(problem.threat), enough=self.success_rate
        )

    def _step_length(self, threat: ThreatModel) -> float:
        return min(threat.epsilon, self.step_size or threat.epsilon / 10) / 255 * threat.bounds.width


class FixedPerturbation(Attack):
    """A universal perturbation that has been found: it is added to every image."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    perturbation: Any

    def perturb(self, problem: Problem) -> Images:
        """See `Attack.perturb`."""
        return apply(self.perturbation, problem)


def apply(perturbation: Perturbation, problem: Problem) -> Images:
    """Add a perturbation to a problem's images, within the bounds."""
    bounds = problem.threat.bounds
    return np.clip(problem.images + perturbation[None], bounds.lower, bounds.upper)
