"""Class balance: how often images of rare classes are drawn, and their weight in the loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_POWERS = {"none": 0.0, "sqrt": 0.5, "inverse": 1.0}


def class_weights(counts: Sequence[float], balance: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the weight of each class, float32 [class_count], scaled so that the mean over the images is 1.

    The scale keeps the loss, and with it the best learning rate, comparable between balances.

    Args:
        counts: Number of training images of each class.
        balance: 'none', 'sqrt' (frequency to the power of -1/2) or 'inverse' (to the power of -1).
    """
    # A class without images weighs as one with a single image: infinity would make all other weights zero.
    images = np.maximum(np.asarray(counts, np.float64), 1.0)
    weights = images ** -_POWERS[balance]
    return np.asarray(weights * images.sum() / (weights * images).sum(), np.float32)


def sampling_rates(counts: Sequence[float], balance: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the mean number of times that an image of each class is drawn in an epoch; see `class_weights`."""
    return class_weights(counts, balance)


def balanced_weights(counts: Sequence[float], sampling: str, weighting: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the weight of each class in the loss, by its frequency among the drawn images.

    A class whose frequency sampling has raised is therefore not weighted up once more.
    """
    return class_weights(list(np.asarray(counts) * sampling_rates(counts, sampling)), weighting)
