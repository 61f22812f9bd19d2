"""TRADES (Zhang et al. 2019, arXiv 1901.08573)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dermrobust.models.objectives.adversarial import IterativeObjective

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

START = 0.001
"""Standard deviation of the start, as published: at the clean image itself the divergence has no gradient."""


class Trades(IterativeObjective):
    """Cross-entropy on clean images, and the divergence of adversarial predictions from theirs.

    Zhang et al. 2019, arXiv 1901.08573. Both terms are weighted by class.
    """

    objective: Literal["trades"] = Field("trades", description="TRADES (Zhang et al. 2019).")
    beta: float = Field(6.0, ge=0, le=1000, description="Weight of the divergence (1/lambda in the paper).")

    def craft(
        self, network: keras.Model, images: tf.Tensor, labels: tf.Tensor, radius: tf.Tensor, seed: tf.Tensor
    ) -> tf.Tensor:
        """Return images whose predictions diverge from those of the clean ones; see `Objective.craft`."""
        import tensorflow as tf

        from dermrobust.models.objectives.crafting import ascend

        del labels
        ball = self.ball(images, radius)
        return ascend(
            network,
            ball,
            ball.gaussian_point(seed, START),
            tf.nn.softmax(network(images, training=False)),
            step_length=self.step_length(radius),
            steps=self.steps,
            # The divergence up to the entropy of the clean prediction, a constant: the gradient is the same.
            loss=tf.nn.softmax_cross_entropy_with_logits,
        )

    def loss(
        self,
        network: keras.Model,
        images: tf.Tensor,
        adversarial: tf.Tensor,
        labels: tf.Tensor,
        class_weights: tf.Tensor,
        seed: tf.Tensor,
    ) -> tf.Tensor:
        """See `Objective.loss`."""
        from dermrobust.models.objectives import losses

        del seed
        clean, moved = losses.logits_of_both(network, images, adversarial)
        terms = losses.cross_entropy(labels, clean) + self.beta * losses.divergence(clean, moved)
        return losses.weighted_mean(terms, labels, class_weights)
