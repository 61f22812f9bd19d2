"""Random perturbations, each drawn from the seed of its image alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dermrobust.attacks.problem import Problem
from dermrobust.attacks.threat import Images, Norm, ThreatModel


def generator(seed: np.uint64) -> np.random.Generator:
    """Return the random generator of a seed."""
    # Philox, because it is counter-based: neighboring keys give independent streams without hashing the seed first.
    return np.random.Generator(np.random.Philox(key=seed))


def random_start(problem: Problem) -> Images:
    """Return uniformly random points of an L-infinity or L2 budget around a problem's images, clipped to the bounds."""
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

    The start of Auto-PGD in L-infinity and L2: a direction (uniform numbers for L-infinity, normal ones for L2) scaled
    to the whole budget.
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


def random_change(problem: Problem) -> Images:
    """Return a problem's images with a random perturbation of the budget; see `dermrobust.attacks.noise.Noise`."""
    if problem.threat.norm is Norm.L1:
        pairs = zip(problem.images, problem.seeds, strict=True)
        return np.stack([_few_values(image, problem.threat, generator(seed)) for image, seed in pairs])
    return random_pixels(problem)[0] if problem.threat.norm is Norm.L0 else random_start(problem)


def random_pixels(problem: Problem) -> tuple[Images, npt.NDArray[np.bool_]]:
    """Return a problem's images with as many random pixels as an L0 budget allows at random corners of the color cube.

    Returns:
        The images, float32 [count, height, width, 3], and the chosen pixels, bool [count, height, width, 1].
    """
    images, bounds = problem.images.copy(), problem.threat.bounds
    height, width = images.shape[1:3]
    masks = np.zeros((len(images), height, width, 1), bool)
    # One pixel stays, so that a search has another place to go to.
    count = max(1, min(int(problem.threat.epsilon), height * width - 1))
    for image, mask, seed in zip(images, masks, problem.seeds, strict=True):
        random = generator(seed)
        rows, columns = np.divmod(random.permutation(height * width)[:count], width)
        mask[rows, columns] = True
        image[rows, columns] = np.where(random.integers(0, 2, (count, 3)) == 1, bounds.upper, bounds.lower)
    return images, masks


def _few_values(
    image: npt.NDArray[np.float32], threat: ThreatModel, random: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Return an image whose values, in random order, are moved to a random bound until an L1 budget is used up."""
    bounds, values = threat.bounds, image.ravel().astype(np.float64)
    order = random.permutation(values.size)
    goals = np.where(random.integers(0, 2, values.size) == 1, bounds.upper, bounds.lower)
    change = (goals - values)[order]
    spent = np.cumsum(np.abs(change)) - np.abs(change)
    values[order] += np.sign(change) * np.clip(threat.radius - spent, 0.0, np.abs(change))
    return values.astype(np.float32).reshape(image.shape)
