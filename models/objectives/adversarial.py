"""Base classes of adversarial objectives: threat model, budget warm-up, iterative crafting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AfterValidator, Field

from dermrobust.attacks.threat import Norm, Threat, ThreatModel
from dermrobust.models.objectives.objective import Objective

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from dermrobust.models.objectives.crafting import Ball


def _trainable(threat: ThreatModel) -> ThreatModel:
    if threat.norm not in (Norm.LINF, Norm.L2):
        raise ValueError(f"adversarial training is defined for linf and l2 only, not for {threat.norm}")
    return threat


class AdversarialObjective(Objective):
    """Class-weighted cross-entropy on adversarial images, crafted anew for each batch."""

    adversarial: ClassVar[bool] = True

    epsilon: Annotated[Threat, AfterValidator(_trainable)] = Field(
        ThreatModel(4),
        description="Threat model of training: 4 (L-infinity, in 1/255), 'linf:4/255' or 'l2:0.5'.",
        json_schema_extra={"default": "linf:4/255"},
    )
    epsilon_warmup_epochs: float = Field(
        0.0,
        ge=0,
        le=10_000,
        description="Number of epochs over which the budget rises linearly from zero; 0 (as published): no rise.",
    )

    def radius(self, epochs: float) -> float:
        """See `Objective.radius`."""
        risen = min(1.0, epochs / self.epsilon_warmup_epochs) if self.epsilon_warmup_epochs else 1.0
        return self.epsilon.radius * risen

    def ball(self, images: tf.Tensor, radius: tf.Tensor) -> Ball:
        """Return the images within a radius of clean ones, in the norm of the threat model."""
        from dermrobust.models.objectives.crafting import Ball

        return Ball(images, radius, self.epsilon.norm.order)


class IterativeObjective(AdversarialObjective):
    """Adversarial objective that crafts with PGD from a random start (Madry et al. 2018, arXiv 1706.06083)."""

    steps: int = Field(5, ge=1, le=1000, description="Number of gradient steps per adversarial image.")
    step_size: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Length of a step at the full budget in 1/255, at most the budget; rises with the budget. "
        "null: 2.5 * epsilon / steps (Madry et al. 2018).",
    )

    def step_length(self, radius: tf.Tensor) -> tf.Tensor:
        """Return the length of a step on images in [0, 1], in constant proportion to the radius."""
        epsilon = self.epsilon.epsilon
        return radius * min(1.0, (self.step_size or 2.5 * epsilon / self.steps) / epsilon)

    def craft(
        self, network: keras.Model, images: tf.Tensor, labels: tf.Tensor, radius: tf.Tensor, seed: tf.Tensor
    ) -> tf.Tensor:
        """See `Objective.craft`."""
        from dermrobust.models.objectives.crafting import ascend

        ball, length = self.ball(images, radius), self.step_length(radius)
        return ascend(network, ball, ball.random_point(seed), labels, step_length=length, steps=self.steps)
