"""Training with Gaussian noise (Cohen, Rosenfeld & Kolter 2019, arXiv 1902.02918)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dermrobust.models.objectives.objective import Objective

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


class GaussianNoise(Objective):
    """Class-weighted cross-entropy on images with Gaussian noise, drawn anew for each batch.

    It trains a base classifier for randomized smoothing (Cohen et al. 2019, arXiv 1902.02918, section 3.3), with the
    deviation of the noise that is certified with. As there, noisy values are not clipped to [0, 1].
    """

    objective: Literal["gaussian_noise"] = Field("gaussian_noise", description="Gaussian noise (Cohen et al. 2019).")
    sigma: float = Field(
        0.25,
        gt=0,
        le=10,
        allow_inf_nan=False,
        description="Standard deviation of the noise, where a pixel is 0 to 1; that of the certificates.",
    )

    def craft(
        self, network: keras.Model, images: tf.Tensor, labels: tf.Tensor, radius: tf.Tensor, seed: tf.Tensor
    ) -> tf.Tensor:
        """Return the images with noise; see `Objective.craft`."""
        import tensorflow as tf

        del network, labels, radius
        return images + self.sigma * tf.random.stateless_normal(tf.shape(images), seed)
