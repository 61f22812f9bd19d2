"""Balanced accuracy: the mean recall over classes, which rare classes weigh as much as common ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def balanced_accuracy(labels: npt.NDArray[np.integer[Any]], right: npt.NDArray[np.bool_]) -> float:
    """Return the balanced accuracy of predictions.

    Args:
        labels: int64 [count], at least one.
        right: bool [count], whether a prediction is the label.
    """
    return mean_recall(np.bincount(labels, weights=right), np.bincount(labels))


def mean_recall(hits: npt.NDArray[Any], counts: npt.NDArray[Any]) -> float:
    """Return the balanced accuracy of counts: the diagonal of a confusion matrix and the sums of its rows.

    Args:
        hits: Number of correctly classified images of each class [class_count].
        counts: Number of images of each class [class_count]. A class without images has no recall and is left out.
    """
    present = counts > 0
    return float(np.mean(hits[present] / counts[present]))
