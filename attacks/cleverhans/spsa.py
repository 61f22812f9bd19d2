"""SPSA: gradients estimated from the classifier's answers."""

from __future__ import annotations

import threading
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from dermrobust.attacks.attack import TargetedAttack
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.threat import Images, Norm

_random = threading.Lock()
"""CleverHans draws from TensorFlow's global generator: one image at a time may seed it."""


class SPSA(TargetedAttack):
    """Simultaneous perturbation stochastic approximation with Adam (Uesato et al. 2018, arXiv 1802.05666).

    CleverHans's implementation, one image at a time. It sees no gradient, so it finds its way where gradients are
    masked; it costs `steps * samples` answers for each image.
    """

    norms: ClassVar[tuple[Norm, ...]] = (Norm.LINF,)
    iterative: ClassVar[bool] = True

    attack: Literal["spsa"] = "spsa"
    steps: int = Field(40, ge=1, le=10_000, description="Of Adam.")
    samples: int = Field(128, ge=2, le=100_000, multiple_of=2, description="Answers for each estimate of a gradient.")
    delta: float = Field(
        2.55, gt=0, le=255, description="Distance in 1/255 at which the classifier is asked for an estimate."
    )
    learning_rate: float = Field(0.01, gt=0, le=10, description="Of Adam.")

    def perturb(self, problem: Problem) -> Images:
        """See `Attack.perturb`."""
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
        sign = 1 if problem.targeted else -1

        def loss(images: Any, label: Any) -> Any:
            logits = finite(forward(weights, images))
            return sign * margin_logit_loss(logits, label, nb_classes=logits.shape[-1])

        with _random:
            tf.random.set_seed(int(problem.seeds[0] % np.uint64(2**31)))
            found = projected_optimization(
                loss,
                tf.constant(problem.images),
                tf.constant(problem.classes),
                threat.radius,
                self.steps,
                SPSAAdam(self.learning_rate, self.delta / 255 * bounds.width, self.samples, 1),
                bounds.lower,
                bounds.upper,
                early_stop_loss_threshold=0.0 if problem.stop_at_success else None,
            )
        return np.asarray(found[0])
