"""SPSA, a black-box attack with estimated gradients."""

from __future__ import annotations

import threading
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from dermrobust.attacks.attack import TargetedAttack
from dermrobust.attacks.kinds import Kind
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.threat import PIXEL_LEVELS, Images, Norm

_random = threading.Lock()
"""CleverHans 4.0.0 draws from TensorFlow's global generator, so Beam's threads must seed and use it one at a time."""


class SPSA(TargetedAttack):
    """Simultaneous perturbation stochastic approximation with Adam (Uesato et al. 2018, arXiv 1802.05666).

    CleverHans's implementation, one image at a time. It queries outputs only, so masked gradients do not stop it. It
    costs `steps * samples` queries for each image.
    """

    kind: ClassVar[Kind] = Kind.BLACK_BOX
    norms: ClassVar[tuple[Norm, ...]] = (Norm.LINF,)

    attack: Literal["spsa"] = "spsa"
    steps: int = Field(40, ge=1, le=10_000, description="Steps of Adam.")
    samples: int = Field(128, ge=2, le=100_000, multiple_of=2, description="Queries for each estimate of a gradient.")
    delta: float = Field(2.55, gt=0, le=255, description="Distance of the queries from the image in 1/255.")
    learning_rate: float = Field(0.01, gt=0, le=10, description="Learning rate of Adam.")

    def perturb(self, problem: Problem) -> Images:
        """See `Attack.perturb`."""
        # The exact model: an approximation saves nothing where no gradient is computed.
        problem = problem.exactly()
        found = np.empty_like(problem.images)
        for index in range(len(found)):
            found[index] = self._one(problem.take(np.asarray([index])))
        return found

    def _one(self, problem: Problem) -> Images:
        import tensorflow as tf
        from cleverhans.tf2.attacks.spsa import margin_logit_loss, projected_optimization

        from dermrobust.attacks.cleverhans.keras3 import SPSAAdam
        from dermrobust.attacks.logits import compiled_logits, finite

        threat, bounds = problem.threat, problem.threat.bounds
        forward, weights = compiled_logits(problem.target.logits), problem.target.weights
        # CleverHans minimizes the loss, which is the largest other logit minus that of the class.
        sign = 1 if problem.targeted else -1

        def loss(images: Any, label: Any) -> Any:
            logits = finite(forward(weights, images))
            return sign * margin_logit_loss(logits, label, nb_classes=logits.shape[-1])

        with _random:
            # TensorFlow takes seeds below 2**31.
            tf.random.set_seed(int(problem.seeds[0] % np.uint64(2**31)))
            found = projected_optimization(
                loss,
                tf.constant(problem.images),
                tf.constant(problem.classes),
                threat.radius,
                self.steps,
                SPSAAdam(self.learning_rate, self.delta / PIXEL_LEVELS * bounds.width, self.samples, 1),
                bounds.lower,
                bounds.upper,
                early_stop_loss_threshold=0.0 if problem.stop_at_success else None,
            )
        return np.asarray(found[0])
