"""Worst case over several attempts on each image."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from dermrobust.attacks.errors import AttackError
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.target import Target
from dermrobust.attacks.threat import Images

Try = Callable[[Problem], Images]
"""One attempt: from a problem to its adversarial images."""
Margins = npt.NDArray[np.float32]
"""float32 [count], logit margins by which an attack misses success, 0 or less where it succeeded."""


def best_of_restarts(problem: Problem, once: Try, tries: int) -> Images:
    """Return the worst case over attempts with different seeds; the first one has the problem's own."""
    # One attempt needs no scores, which cost a forward pass.
    if tries == 1:
        return once(problem)
    return worst_of(problem, (_seeded(once, number) for number in range(tries)))


def _seeded(once: Try, number: int) -> Try:
    return lambda part: once(part.with_seeds(number))


def on_target(once: Try, target: Target, *, stop_at_success: bool) -> Try:
    """Return an attempt on a target of its own, such as an approximation of that which judges the result."""
    return lambda part: once(dataclasses.replace(part, target=target, stop_at_success=stop_at_success))


def worst_of(problem: Problem, tries: Iterable[Try]) -> Images:
    """Return for each image the attempt that is worst for the classifier: float32 [count, height, width, 3].

    If the problem stops at success, each attempt runs only on the images that still stand.
    """
    # Clean images have the score infinity, so the first attempt replaces them even where it fails.
    worst = problem.images.copy()
    score = np.full(len(worst), np.inf, np.float32)
    standing = np.arange(len(worst))
    for attempt in tries:
        if problem.stop_at_success:
            standing = np.flatnonzero(score > 0)
        if not len(standing):
            break
        part = problem.take(standing)
        moved = attempt(part)
        found = shortfalls(part, moved)
        better = found < score[standing]
        worst[standing[better]] = moved[better]
        score[standing[better]] = found[better]
    return worst


def shortfalls(problem: Problem, images: Images) -> Margins:
    """Return by how much images miss success, with the exact model."""
    from dermrobust.attacks.logits import logits_of, margins

    # The exact model scores, so that an approximation cannot end an attack too early.
    logits = logits_of(problem.exactly().target, images, problem.batch_size)
    if not np.isfinite(logits).all():
        raise AttackError("the model's logits became NaN or infinite under attack")
    scores = margins(logits, problem.classes) * (-1 if problem.targeted else 1)
    reached = (logits.argmax(axis=1) == problem.classes) == problem.targeted
    # Between equal logits the margin is 0 and argmax decides, as it does whenever the image is scored later.
    tiny = np.float32(np.finfo(np.float32).tiny)
    return np.asarray(np.where(reached, np.minimum(scores, 0.0), np.maximum(scores, tiny)))
