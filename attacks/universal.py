"""Universal perturbation."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from dermrobust.attacks.attack import Attack, TargetedAttack
from dermrobust.attacks.kinds import Kind
from dermrobust.attacks.perturbation import Perturbation, perturbed
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.randomness import generator
from dermrobust.attacks.threat import PIXEL_LEVELS, Images, ThreatModel


class Universal(TargetedAttack):
    """One perturbation that misleads a classifier on most images (Moosavi-Dezfooli et al. 2017, arXiv 1610.08401).

    The variant that Hirano et al. used on skin lesions (2021, BMC Medical Imaging 21:9): each image that it does not
    yet mislead adds a gradient step, and the sum is projected into the budget. `perturb` finds it on the problem's own
    images, `fit` on others.
    """

    kind: ClassVar[Kind] = Kind.UNIVERSAL

    attack: Literal["universal"] = "universal"
    passes: int = Field(5, ge=1, le=1000, description="Maximum number of passes over the images.")
    step_size: float | None = Field(
        None, gt=0, le=1e6, description="Length of the step of one image in 1/255; null: epsilon / 10."
    )
    success_rate: float = Field(0.95, gt=0, le=1, description="Fraction of misled images at which the search ends.")
    images: int = Field(512, ge=1, le=100_000, description="Number of training images for the search in a pipeline.")

    def perturb(self, problem: Problem) -> Images:
        """See `Attack.perturb`; the perturbation is found on the problem's own images."""
        return perturbed(problem, self.fit(problem))

    def fit(self, problem: Problem) -> Perturbation:
        """Return the perturbation found on a problem's images: float32 [height, width, 3], inside the budget."""
        from dermrobust.attacks.universal_search import best_perturbation

        # The perturbation belongs to all images, so the seed of the first one stands for the run.
        order = generator(problem.seeds[0])
        return best_perturbation(
            problem, order, passes=self.passes, step_size=self._step_length(problem.threat), enough=self.success_rate
        )

    def _step_length(self, threat: ThreatModel) -> float:
        """Return the length of a step on the scale of the images, at most the budget."""
        return min(threat.epsilon, self.step_size or threat.epsilon / 10) / PIXEL_LEVELS * threat.bounds.width


class FixedPerturbation(Attack):
    """A universal perturbation that has been found; it is added to every image."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    kind: ClassVar[Kind] = Kind.UNIVERSAL
    needs_gradients: ClassVar[bool] = False

    perturbation: Any

    def perturb(self, problem: Problem) -> Images:
        """See `Attack.perturb`."""
        return perturbed(problem, self.perturbation)
