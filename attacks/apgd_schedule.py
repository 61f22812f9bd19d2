"""Schedules of Auto-PGD: its checkpoints, and the stages of its L1 form."""

from __future__ import annotations

from typing import NamedTuple

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


class Stages(NamedTuple):
    """Schedule of Auto-PGD for L1, with an entry for each evaluation.

    Attributes:
        radii: budget in multiples of the final one, float32 [evaluations].
        begins: whether the evaluation is that of a stage's start, bool [evaluations].
        checks: whether step size and sparsity are adapted after it, bool [evaluations].
    """

    radii: npt.NDArray[np.float32]
    begins: npt.NDArray[np.bool_]
    checks: npt.NDArray[np.bool_]


def l1_stages(steps: int) -> Stages:
    """Return the schedule of Auto-PGD for L1: 30 % of the steps in three times the budget, 30 % in twice, 40 % in it.

    Croce & Hein 2021, arXiv 2103.01208, section 4.2. A stage evaluates its start and then takes its steps; step size
    and sparsity are adapted after every 4 % of its steps, at least one.
    """
    early = 3 * steps // 10
    radii, begins, checks = [], [], []
    for radius, count in ((3, early), (2, early), (1, steps - 2 * early)):
        # With very few steps only the last stage is left.
        if count:
            window = max(int(0.04 * count), 1)
            radii += [radius] * (count + 1)
            begins += [True] + [False] * count
            checks += [False] + [step % window == 0 for step in range(1, count + 1)]
    return Stages(np.asarray(radii, np.float32), np.asarray(begins), np.asarray(checks))
