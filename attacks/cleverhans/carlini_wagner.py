"""Carlini and Wagner's L2 attack."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from dermrobust.attacks.attack import IterativeAttack, TargetedAttack
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.threat import Images, Norm


class CarliniWagnerL2(IterativeAttack, TargetedAttack):
    """Adam on distance plus margin, with a binary search for their weights (Carlini & Wagner 2017, arXiv 1608.04644).

    CleverHans's implementation. It minimizes the distance to a misclassified image and knows no budget. Perturbations
    longer than the budget are scaled down to it and then mostly fail.
    """

    norms: ClassVar[tuple[Norm, ...]] = (Norm.L2,)

    attack: Literal["cw_l2"] = "cw_l2"
    steps: int = Field(100, ge=1, le=10_000, description="Steps of Adam for each weight of the margin.")
    binary_search_steps: int = Field(5, ge=1, le=30, description="Number of weights of the margin that are tried.")
    learning_rate: float = Field(0.05, gt=0, le=10, description="Learning rate of Adam.")
    initial_const: float = Field(0.01, gt=0, le=1e6, description="First weight of the margin against the distance.")
    confidence: float = Field(0.0, ge=0, le=1000, description="Logit margin by which an image must be misclassified.")

    def perturb(self, problem: Problem) -> Images:
        """See `Attack.perturb`."""
        import tensorflow as tf

        from dermrobust.attacks.cleverhans.keras3 import LabelledCarliniWagner
        from dermrobust.attacks.logits import compiled_logits, finite

        # The nearest misclassified image lies on the decision boundary: an approximate model would put it on the wrong
        # side of the exact model's.
        problem = problem.exactly()
        forward, weights = compiled_logits(problem.target.logits), problem.target.weights

        def logits(images: Any) -> Any:
            return finite(forward(weights, images))

        bounds = problem.threat.bounds
        attack = LabelledCarliniWagner(
            logits,
            clip_min=bounds.lower,
            clip_max=bounds.upper,
            batch_size=problem.batch_size,
            binary_search_steps=self.binary_search_steps,
            max_iterations=self.steps,
            confidence=self.confidence,
            initial_const=self.initial_const,
            learning_rate=self.learning_rate,
            # CleverHans 4.0.0 aborts on the loss summed over the batch: an image's result would depend on the others.
            abort_early=False,
        )
        found = np.empty_like(problem.images)
        size = min(problem.batch_size, len(found))
        for start in range(0, len(found), size):
            batch = problem.take(np.arange(start, min(start + size, len(found))))
            # The last batch is padded with repeated images: the attack is compiled for one shape.
            index = np.arange(size) % len(batch.images)
            moved = attack.attack_batch(
                tf.constant(batch.images[index]), batch.classes[index], targeted=problem.targeted
            )
            found[start : start + size] = np.asarray(moved)[: len(batch.images)]
        return _shortened(found, problem)


def _shortened(found: Images, problem: Problem) -> Images:
    """Return images whose perturbations are scaled down to the budget where they are longer."""
    distance = problem.threat.distance(found, problem.images)
    share = np.minimum(1.0, problem.threat.radius / np.maximum(distance, 1e-12)).astype(np.float32)
    return np.asarray(problem.images + share[:, None, None, None] * (found - problem.images))
