"""Base class of attacks that minimize the perturbation."""

from __future__ import annotations

import numpy as np

from dermrobust.attacks.attack import Attack
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.threat import Images, Norm


class Minimizing(Attack):
    """An attack that finds a misclassified image as near to the clean one as it can, within the budget.

    One run at the largest budget therefore tells the result at every smaller one: an image that is farther than a
    budget withstood it. If the problem stops at success it may stop at any image within the budget.
    """


def within_budget(problem: Problem, found: Images) -> Images:
    """Return images, found at whatever distance, moved into the budget: float32, shaped like the clean ones."""
    threat, shift = problem.threat, found - problem.images
    if threat.norm is Norm.LINF:
        # Clipped, not scaled: a change of less than half a level too much is the same file in 8 bits.
        return np.asarray(problem.images + np.clip(shift, -threat.radius, threat.radius), np.float32)
    share = np.minimum(1.0, threat.radius / np.maximum(threat.distance(found, problem.images), 1e-12))
    return np.asarray(problem.images + share.astype(np.float32)[:, None, None, None] * shift)
