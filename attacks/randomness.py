"""Random perturbations, each drawn from the seed of its image alone."""

from __future__ import annotations

import numpy as np

from dermrobust.attacks.problem import Problem
from dermrobust.attacks.threat import Images, Norm


def generator(seed: np.uint64) -> np.random.Generator:
    """Return the random generator of a seed."""
    # Philox, because it is counter-based: neighboring keys give independent streams without hashing the seed first.
    return np.random.Generator(np.random.Philox(key=seed))


def random_start(problem: Problem) -> Images:
    """Return uniformly random points of the budget around a problem's images, clipped to the bounds."""
    images, bounds = problem.images, problem.threat.bounds
    shape, radius = images.shape[1:], np.float32(problem.threat.radius)
    moved = np.empty_like(images)
    for index, seed in enumerate(problem.seeds):
        random = generator(seed)
        if problem.threat.norm is Norm.LINF:
            moved[index] = (2.0 * random.random(shape, dtype=np.float32) - 1.0) * radius
        else:
            direction = random.standard_normal(shape, dtype=np.float32)
            # The n-th root makes the point uniform in the n-dimensional ball, whose volume grows with length ** n.
            length = radius * random.random() ** (1.0 / direction.size)
            moved[index] = direction * np.float32(length / np.linalg.norm(direction))
    return np.clip(images + moved, bounds.lower, bounds.upper)


def on_the_sphere(problem: Problem) -> Images:
    """Return random points on the surface of the budget around a problem's images, clipped to the bounds.

    The start of Auto-PGD: a direction (uniform numbers for L-infinity, normal ones for L2) scaled to the whole budget.
    """
    images, bounds = problem.images, problem.threat.bounds
    shape, radius = images.shape[1:], np.float32(problem.threat.radius)
    moved = np.empty_like(images)
    for index, seed in enumerate(problem.seeds):
        random = generator(seed)
        if problem.threat.norm is Norm.LINF:
            direction = 2.0 * random.random(shape, dtype=np.float32) - 1.0
            moved[index] = direction * (radius / np.abs(direction).max())
        else:
            direction = random.standard_normal(shape, dtype=np.float32)
            moved[index] = direction * (radius / np.float32(np.linalg.norm(direction)))
    return np.clip(images + moved, bounds.lower, bounds.upper)
