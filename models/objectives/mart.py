"""MART (Wang et al. 2020)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from dermrobust.models.objectives.adversarial import IterativeObjective

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


class Mart(IterativeObjective):
    """Misclassification-aware adversarial training.

    Wang et al. 2020, "Improving adversarial robustness requires revisiting misclassified examples" (ICLR): boosted
    cross-entropy on PGD examples, and the divergence of their predictions from the clean ones, weighted by the error of
    the clean prediction. Both terms are weighted by class.
    """

    takes_probabilities: ClassVar[bool] = False

    objective: Literal["mart"] = Field("mart", description="MART (Wang et al. 2020).")
    beta: float = Field(5.0, ge=0, le=1000, description="Weight of the divergence (lambda in the paper).")

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
        import tensorflow as tf

        from dermrobust.models.objectives import losses

        del seed
        clean, moved = losses.logits_of_both(network, images, adversarial)
        wrong = 1.0 - tf.exp(-losses.cross_entropy(labels, clean))
        terms = losses.boosted_cross_entropy(labels, moved) + self.beta * losses.divergence(clean, moved) * wrong
        return losses.weighted_mean(terms, labels, class_weights)
