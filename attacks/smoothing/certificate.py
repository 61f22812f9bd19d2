"""Numbers of randomized smoothing: predictions and certified radii from class counts under noise.

Cohen, Rosenfeld & Kolter 2019, arXiv 1902.02918. The smoothed classifier of a base classifier returns the class that
the base classifier returns most often on an image plus Gaussian noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

Votes = npt.NDArray[np.int64]
"""int64 [count, class_count], how often the base classifier returned each class under noise."""
Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Smoothed:
    """Predictions of the smoothed classifier.

    Attributes:
        classes: int64 [count], the most frequent class.
        abstained: bool [count], whether the counts leave open which class is the most frequent one.
    """

    classes: npt.NDArray[np.int64]
    abstained: Flags


@dataclass(frozen=True)
class Certificates:
    """Certificates of the smoothed classifier.

    Attributes:
        classes: int64 [count], the certified class.
        abstained: bool [count], whether nothing is certified.
        radius: float64 [count], L2 distance on the scale of the images within which the smoothed classifier returns the
            certified class; 0 where it abstains.
    """

    classes: npt.NDArray[np.int64]
    abstained: Flags
    radius: Floats


def predict(votes: Votes, alpha: float) -> Smoothed:
    """Return the predictions of the smoothed classifier: PREDICT of Cohen et al. 2019.

    A prediction is wrong about the smoothed classifier with a probability of `alpha` at most. It abstains where a
    two-sided binomial test at that level (Hung & Fithian 2019) cannot tell the two most frequent classes apart.

    Args:
        votes: int64 [count, class_count].
        alpha: probability of error.
    """
    second, first = np.sort(votes, axis=1)[:, -2:].T
    # P(X >= first) of X ~ Binomial(first + second, 1/2), as a regularized incomplete beta function, and both tails.
    p_value = np.where(first > second, 2 * special.betainc(np.maximum(first, 1), second + 1.0, 0.5), 1.0)
    return Smoothed(np.asarray(votes.argmax(axis=1), np.int64), np.asarray(p_value > alpha))


def certify(selection: Votes, votes: Votes, sigma: float, alpha: float) -> Certificates:
    """Return certified classes and radii: CERTIFY of Cohen et al. 2019.

    The class is chosen by one sample, and its probability bounded by another one: the bound would not hold for a class
    that was chosen by the same sample. A certificate is wrong with a probability of `alpha` at most.

    Args:
        selection: int64 [count, class_count], votes that choose the class.
        votes: int64 [count, class_count], further votes that estimate its probability.
        sigma: standard deviation of the noise on the scale of the images.
        alpha: probability of error.
    """
    classes = np.asarray(selection.argmax(axis=1), np.int64)
    chosen = votes[np.arange(len(votes)), classes]
    lower = lower_bound(chosen, votes.sum(axis=1), alpha)
    abstained = lower <= 0.5
    return Certificates(classes, abstained, np.where(abstained, 0.0, sigma * special.ndtri(lower)))


def lower_bound(successes: npt.NDArray[Any], trials: npt.NDArray[Any], alpha: float) -> Floats:
    """Return the one-sided lower confidence bound of a probability (Clopper & Pearson 1934): float64 [count].

    Args:
        successes: int [count].
        trials: int [count].
        alpha: probability that the bound is above the true value.
    """
    # The bound is a quantile of a beta distribution, which has no first parameter of 0.
    found = special.betaincinv(np.maximum(successes, 1), trials - successes + 1.0, alpha)
    return np.where(successes > 0, found, 0.0)


def largest_radius(samples: int, sigma: float, alpha: float) -> float:
    """Return the radius that is certified where the base classifier always returns one class: no other is larger."""
    return float(sigma * special.ndtri(alpha ** (1 / samples)))
