"""Rare classes: how often their images are drawn, and what they weigh."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

Balance = Literal["none", "sqrt", "inverse"]
_POWERS = {"none": 0.0, "sqrt": 0.5, "inverse": 1.0}


def class_weights(counts: Sequence[float], balance: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the weight of each class, scaled so that the mean over the images is 1.

    Args:
        counts: training images of each class.
        balance: 'none', 'sqrt' (frequency to the power of -1/2) or 'inverse' (to the power of -1).
    """
    images = np.maximum(np.asarray(counts, np.float64), 1.0)
    weights = images ** -_POWERS[balance]
    return np.asarray(weights * images.sum() / (weights * images).sum(), np.float32)


def sampling_rates(counts: Sequence[float], balance: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return how often an image of each class is drawn in an epoch, on average; the mean over the images is 1."""
    return class_weights(counts, balance)


def balanced_weights(counts: Sequence[float], sampling: str, weighting: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the weight of each class in the loss, by its frequency among the images as they are drawn.

    So a class that sampling already evened out is not weighted up once more.
    """
    return class_weights(list(np.asarray(counts) * sampling_rates(counts, sampling)), weighting)
