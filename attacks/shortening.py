"""Perturbations in whole levels, shortened to a budget."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SQUARED = 1 + 1e-9
"""Factor for the rounding of a squared L2 budget; squared lengths of 8-bit perturbations are whole numbers."""


def shortened(
    shift: npt.NDArray[np.int16], exact: npt.NDArray[np.float32], limit: float, *, power: int
) -> npt.NDArray[np.int16]:
    """Return whole-level perturbations [batch, values] with values moved one level towards zero until the length fits.

    Args:
        shift: perturbations in whole levels.
        exact: perturbations before rounding.
        limit: largest sum of the sizes to a power.
        power: that power, 1 (L1) or 2 (L2).
    """
    result = shift.astype(np.int64)
    while True:
        length = (np.abs(result) ** power).sum(axis=1)
        outside = np.flatnonzero(length > limit)
        if not len(outside):
            return result.astype(np.int16)
        for row in outside:
            values = result[row]
            # Values that rounding moved furthest outwards go first: this undoes rounding before it weakens the attack.
            overshoot = np.where(values == 0, -np.inf, np.abs(values) - np.abs(exact[row]))
            order = np.argsort(-overshoot, kind="stable")
            # What each move takes off the sum: |v|**p - (|v| - 1)**p. Several rounds may be needed, since one round
            # moves each value by one level at most.
            size = np.abs(values[order])
            saved = np.cumsum(np.where(size > 0, size**power - (size - 1) ** power, 0))
            enough = int(np.searchsorted(saved, length[row] - limit)) + 1
            chosen = order[:enough]
            values[chosen] -= np.sign(values[chosen])
