"""Validation of an attack's inputs: images, labels, budget, and the logits of the model."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from dermrobust.attacks.attack import Attack, Goal, TargetedAttack
from dermrobust.attacks.errors import UserError
from dermrobust.attacks.logits import Logits
from dermrobust.attacks.problem import Labels, Problem, Seeds
from dermrobust.attacks.threat import Images, Norm, ThreatModel

_PROBABILITY_ROUNDING = 1e-3
"""Rounding error of probabilities in float16."""
_ENOUGH_TO_TELL = 2
"""Number of different outputs from which on it is no coincidence that each adds up to 1."""


def check_problem(attack: Attack, problem: Problem) -> None:
    """Refuse images, labels, seeds and budgets that no attack can run on.

    Raises:
        UserError: one of them is invalid.
    """
    images, labels, threat = problem.images, problem.labels, problem.threat
    attack.check_threat(threat)
    if problem.batch_size < 1:
        raise UserError(f"batch_size is {problem.batch_size}; it must be 1 or more")
    if images.ndim != 4 or images.shape[-1] != 3:
        raise UserError(f"images must be [count, height, width, 3], found {list(images.shape)}")
    if not len(images):
        raise UserError("there are no images to attack (an empty batch)")
    check_counts(len(images), labels, problem.seeds)
    # Exact types, since compiled steps take no others.
    types = tuple(str(array.dtype) for array in (images, labels, problem.seeds))
    if types != ("float32", "int64", "uint64"):
        raise UserError(f"images, labels and seeds must be float32, int64 and uint64, found {', '.join(types)}")
    _check_values(images, threat)
    _check_budget(threat, images.shape[1:])


def _check_budget(threat: ThreatModel, shape: tuple[int, ...]) -> None:
    """Refuse a budget that is larger than the distance between any two images of a shape."""
    size, pixels = math.prod(shape), math.prod(shape[:2])
    farthest = {Norm.L2: math.sqrt(size), Norm.L1: size}.get(threat.norm)
    if farthest is not None and threat.radius > threat.bounds.width * farthest:
        raise UserError(f"a budget of {threat} is longer than the distance between any two images of {list(shape)}")
    if threat.norm is Norm.L0 and threat.epsilon > pixels:
        raise UserError(f"a budget of {threat} is more pixels than images of {list(shape)} have: {pixels}")


def check_counts(images: int, labels: Labels, seeds: Seeds) -> None:
    """Refuse labels and seeds that are not one for each image.

    Raises:
        UserError: the numbers differ.
    """
    if labels.shape != (images,) or seeds.shape != labels.shape:
        raise UserError(
            f"each image needs one label and one seed: found {images} images, labels {list(labels.shape)}, "
            f"seeds {list(seeds.shape)}"
        )


def _check_values(images: Images, threat: ThreatModel) -> None:
    lower, upper = threat.bounds.lower, threat.bounds.upper
    finite = np.isfinite(images).all(axis=(1, 2, 3))
    if not finite.all():
        raise UserError(f"image {int(np.argmin(finite))} holds values that are not finite (NaN or infinity)")
    least, most = float(images.min()), float(images.max())
    if least < lower or most > upper:
        raise UserError(
            f"images must lie in [{lower:g}, {upper:g}], found [{least:g}, {most:g}]; images of 0 to 255 are divided "
            "by 255 first"
        )


def check_logits(attack: Attack, problem: Problem, logits: Logits) -> None:
    """Refuse a model whose outputs on the clean images are no logits, or whose classes do not fit labels or attack.

    Raises:
        UserError: the outputs are not finite, are probabilities, or have too few classes.
    """
    finite = np.isfinite(logits).all(axis=1)
    if not finite.all():
        raise UserError(f"the model's logits are not finite (NaN or infinity) for image {int(np.argmin(finite))}")
    count = logits.shape[1]
    for name, classes in (("label", problem.labels), ("goal", problem.classes)):
        if classes.min() < 0 or classes.max() >= count:
            raise UserError(
                f"{name}s must be 0 to {count - 1}, the model's {count} classes; "
                f"found {classes.min()} to {classes.max()}"
            )
    if are_probabilities(logits):
        raise UserError(
            "the model returns probabilities, not logits (its outputs lie in [0, 1] and add up to 1). Gradients "
            "through a softmax vanish and make a model look robust; give the model without its last softmax"
        )
    attack.check_classes(count)


def are_probabilities(logits: npt.NDArray[np.floating]) -> bool:
    """Tell whether outputs [count, class_count] look like probabilities: in [0, 1] and adding up to 1 in every row."""
    # A single row of logits may add up to nearly 1 by chance, so it has to do so much more closely.
    if len(np.unique(logits, axis=0)) < _ENOUGH_TO_TELL and not np.allclose(logits.sum(axis=1), 1.0, atol=1e-6):
        return False
    inside = logits.min() >= -_PROBABILITY_ROUNDING and logits.max() <= 1 + _PROBABILITY_ROUNDING
    return bool(inside and np.abs(logits.sum(axis=1) - 1).max() <= _PROBABILITY_ROUNDING)


def goals_of(attack: Attack, problem: Problem, logits: Logits) -> Labels | None:
    """Return the class that each image is to be classified as, int64 [count]; None for an untargeted attack."""
    goal: Goal = attack.goal if isinstance(attack, TargetedAttack) else None
    if goal is None:
        return problem.goals
    if goal == "least_likely":
        return np.asarray(logits.argmin(axis=1), np.int64)
    return np.full(len(logits), goal, np.int64)
