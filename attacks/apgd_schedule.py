"""When auto-PGD looks back at its progress."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def checkpoints(steps: int) -> npt.NDArray[np.float32]:
    """Return for each iteration, float32 [steps + 1], how many steps it looks back on; 0 where it does not look back.

    The windows shrink from 22 % of the steps by 3 % to 6 % (Croce & Hein 2020, arXiv 2003.01690, section 3.2).
    Iteration 0 only looks at the start.
    """
    window, shrink, shortest = (max(int(share * steps), 1) for share in (0.22, 0.03, 0.06))
    lengths = np.zeros(steps + 1, np.float32)
    at = 0
    while (at := at + window) <= steps:
        lengths[at] = window
        window = max(window - shrink, shortest)
    return lengths
