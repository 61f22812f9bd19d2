"""Perturbation shared by all images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dermrobust.attacks.problem import Problem
from dermrobust.attacks.threat import Images

Perturbation = npt.NDArray[np.float32]
"""float32 [height, width, 3], added to every image."""


def perturbed(problem: Problem, perturbation: Perturbation) -> Images:
    """Return a problem's images with a perturbation added, clipped to the bounds."""
    bounds = problem.threat.bounds
    return np.clip(problem.images + perturbation[None], bounds.lower, bounds.upper)
