"""Fit of temperature and thresholds to validation images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize

from dermrobust.components.evaluation.metrics.ece import calibration_error
from dermrobust.components.evaluation.referrals import Floats, ReferralThreshold, Rejector, tempered
from dermrobust.components.evaluation.weighted import once

_LOG_TEMPERATURES = (np.log(0.05), np.log(20.0))
"""Range of the search. At its ends a network is useless or separates the validation images perfectly."""


def fit_rejector(probabilities: npt.NDArray[Any], labels: npt.NDArray[np.int64], rates: Sequence[float]) -> Rejector:
    """Return temperature and thresholds.

    Args:
        probabilities: float [count, class_count] of the validation images at temperature 1.
        labels: int64 [count].
        rates: shares of the images to refer, ascending.
    """
    # The negative log-likelihood is convex in 1/T, so its only minimum in log T is found (Guo et al. 2017).
    found = optimize.minimize_scalar(
        lambda log: _nll(tempered(probabilities, np.exp(log)), labels),
        bounds=_LOG_TEMPERATURES,
        method="bounded",
        options={"xatol": 1e-6},
    )
    temperature = float(np.exp(found.x))
    before, after = tempered(probabilities, 1.0), tempered(probabilities, temperature)
    confidence = after.max(axis=1)
    return Rejector(
        temperature=temperature,
        thresholds=tuple(_threshold(confidence, rate) for rate in rates),
        images=len(labels),
        nll_before=_nll(before, labels),
        nll_after=_nll(after, labels),
        ece_before=_ece(before, labels),
        ece_after=_ece(after, labels),
    )


def _threshold(confidence: Floats, rate: float) -> ReferralThreshold:
    """Return the largest threshold that refers no more than a share of the images."""
    # The small addition: 0.3 of 10 images are 3, but 0.3 * 10 may be 2.999…
    threshold = float(np.sort(confidence)[int(rate * len(confidence) + 1e-9)])
    return ReferralThreshold(rate=rate, threshold=threshold, referred=float((confidence < threshold).mean()))


def _nll(probabilities: Floats, labels: npt.NDArray[np.int64]) -> float:
    chosen = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(chosen, np.finfo(np.float64).tiny)).mean())


def _ece(probabilities: Floats, labels: npt.NDArray[np.int64]) -> float:
    return float(calibration_error(labels, probabilities.astype(np.float32), once(len(labels)))[0])
