"""Checkpoints of Auto-PGD."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def checkpoints(steps: int) -> npt.NDArray[np.float32]:
    """Return the length of the window that each iteration looks back on: float32 [steps + 1], 0 where it does not.

    The first window is 22 % of the steps. Each next one is shorter by 3 %, down to 6 % (Croce & Hein 2020, arXiv
    2003.01690, section 3.2). Iteration 0 only evaluates the start.
    """
    # At least 1 each: with few steps the percentages round down to 0, and the loop would not end.
    window, shrink, shortest = (max(int(share * steps), 1) for share in (0.22, 0.03, 0.06))
    lengths = np.zeros(steps + 1, np.float32)
    at = 0
    while (at := at + window) <= steps:
        lengths[at] = window
        window = max(window - shrink, shortest)
    return lengths
