"""Random points of a budget, each drawn from the seed of its image alone."""

from __future__ import annotations

import numpy as np

from dermrobust.attacks.problem import Problem
from dermrobust.attacks.threat import Images, Norm


def generator(seed: np.uint64) -> np.random.Generator:
    """Return the random numbers that belong to a seed."""
    return np.random.Generator(np.random.Philox(key=seed))


def random_start(problem: Problem) -> Images:
    """Return uniformly random points of the budget around a problem's images, within its bounds."""
    images, bounds = problem.images, problem.threat.bounds
    shape, radius = images.shape[1:], np.float32(problem.threat.radius)
    moved = np.empty_like(images)
    for index, seed in enumerate(problem.seeds):
        random = generator(seed)
        if problem.threat.norm is Norm.LINF:
            moved[index] = (2.0 * random.random(shape, dtype=np.float32) - 1.0) * radius
        else:
            direction = random.standard_normal(shape, dtype=np.float32)
            length = radius * random.random() ** (1.0 / direction.size)
            moved[index] = direction * np.float32(length / np.linalg.norm(direction))
    return np.clip(images + moved, bounds.lower, bounds.upper)


def on_the_sphere(problem: Problem) -> Images:
    """Return random points on the surface of the budget around a problem's images, within its bounds.

    In each direction that is drawn (uniform numbers for L-infinity, normal ones for L2) the whole budget is used.
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
