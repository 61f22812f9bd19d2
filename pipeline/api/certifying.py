"""Certificates of a model in memory: the function `dermrobust.certify`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from dermrobust.attacks.errors import UserError
from dermrobust.attacks.problem import Labels
from dermrobust.attacks.smoothing.certificate import Votes
from dermrobust.components.evaluation.certificate_params import CertificateSettings
from dermrobust.components.evaluation.intervals import wilson_interval
from dermrobust.components.evaluation.rows import Figure
from dermrobust.pipeline.api.arrays import collected
from dermrobust.pipeline.api.attacking import target_of
from dermrobust.pipeline.config_errors import explain


@dataclass(frozen=True)
class Certified:
    """Certificates of a smoothed classifier.

    Attributes:
        predictions: class that the smoothed classifier returns, int64 [count]; -1 where it abstains.
        classes: certified class, int64 [count]; -1 where nothing is certified.
        radius: L2 distance within which the certified class holds, where a pixel is 0 to 1: float64 [count].
        labels: true classes, int64 [count].
        votes: number of noisy copies for each class, int64 [count, class_count].
        sigma: standard deviation of the noise.
        alpha: probability that the certificate of an image is wrong.
    """

    predictions: Labels
    classes: Labels
    radius: npt.NDArray[np.float64]
    labels: Labels
    votes: Votes
    sigma: float
    alpha: float

    @property
    def accuracy(self) -> float:
        """Fraction of clean images that the smoothed classifier classifies correctly; abstentions are errors."""
        return float((self.predictions == self.labels).mean())

    def certified_accuracy(self, radius: float) -> Figure:
        """Return the fraction of images certified to be classified correctly within an L2 radius, with its interval."""
        value = float(((self.classes == self.labels) & (self.radius > radius)).mean())
        return Figure(value, len(self.labels), *wilson_interval(value, len(self.labels)))

    def __repr__(self) -> str:
        """Accuracy and abstentions; not the arrays."""
        return (
            f"Certified(sigma {self.sigma:g}: smoothed accuracy {self.accuracy:.3f}, mean radius "
            f"{np.where(self.classes == self.labels, self.radius, 0).mean():.3f}, no certificate for "
            f"{(self.classes < 0).mean():.1%}, n={len(self.labels)})"
        )


def certify(
    model: Any,
    images: Any,
    labels: Any = None,
    *,
    sigma: float = 0.25,
    samples: int = 1000,
    selection_samples: int = 100,
    alpha: float = 0.001,
    input_range: str = "0..1",
    batch_size: int = 128,
    seed: int = 0,
) -> Certified:
    """Certify a classifier by randomized smoothing (Cohen, Rosenfeld & Kolter 2019, arXiv 1902.02918).

    Certified is the smoothed classifier, which returns the class that the model returns most often on an image plus
    Gaussian noise; not the model itself. A model that was not trained with noise is seldom certified.

    Args:
        model: as in `dermrobust.attack`; only its predicted classes are used.
        images: uint8, or floats in [0, 1], [count, height, width, 3]; or a `tf.data.Dataset` of (image, label) pairs.
        labels: true classes, integers [count] or one-hot rows; left out for a data set.
        sigma: standard deviation of the noise, where a pixel is 0 to 1.
        samples: noisy copies of each image that estimate the probability of its class.
        selection_samples: noisy copies of each image that choose its class.
        alpha: probability that the certificate of an image is wrong.
        input_range: values that the model takes for black and white: "0..1", "0..255" or "-1..1".
        batch_size: noisy images per forward pass.
        seed: seed of the noise.

    Raises:
        UserError: an argument is out of range, or model, images and labels do not fit together.
    """
    from dermrobust.attacks.engine import to_images
    from dermrobust.attacks.logits import logits_of
    from dermrobust.attacks.smoothing.certificate import certify as certificates
    from dermrobust.attacks.smoothing.certificate import predict
    from dermrobust.attacks.smoothing.voting import Voters, noise_seeds

    _check(sigmas=[sigma], samples=samples, selection_samples=selection_samples, alpha=alpha)
    found, classes = collected(images, labels)
    shown = to_images(np.asarray(found, np.uint8)) if found.dtype == np.uint8 else np.asarray(found, np.float32)
    target = target_of(model, found.shape[1:3], input_range, {})
    class_count = logits_of(target, shown[:1], 1).shape[1]
    voters = Voters(target, class_count, sigma, batch_size)
    seeds = noise_seeds([str(index) for index in range(len(shown))], sigma=sigma, seed=seed)
    selection = voters.votes(shown, seeds, draws=selection_samples)
    votes = voters.votes(shown, seeds, draws=samples, first=selection_samples)
    certified, smoothed = certificates(selection, votes, sigma, alpha), predict(votes, alpha)
    return Certified(
        predictions=np.where(smoothed.abstained, -1, smoothed.classes),
        classes=np.where(certified.abstained, -1, certified.classes),
        radius=certified.radius,
        labels=classes,
        votes=votes,
        sigma=sigma,
        alpha=alpha,
    )


def _check(**values: Any) -> None:
    """Refuse arguments that a config would refuse.

    Raises:
        UserError: one of them is out of range.
    """
    try:
        CertificateSettings.model_validate(values)
    except ValidationError as error:
        raise UserError(f"these arguments do not fit:\n{explain(error, CertificateSettings)}") from None
