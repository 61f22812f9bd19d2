"""Several tries on each image, of which the worst for the classifier counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from dermrobust.attacks.errors import AttackError
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.threat import Images

Try = Callable[[Problem], Images]


def best_of_restarts(problem: Problem, once: Try, tries: int) -> Images:
    """Attack several times with other seeds; the first try has the problem's own."""
    if tries == 1:
        return once(problem)
    return worst_of(problem, (_seeded(once, number) for number in range(tries)))


def _seeded(once: Try, number: int) -> Try:
    return lambda part: once(part.with_seeds(number))


def worst_of(problem: Problem, tries: Iterable[Try]) -> Images:
    """Make one try after the other and return for each image the one that does worst: float32 [count, …].

    Where the problem stops at success, each try is made only on what still stands.
    """
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
        found = _scores(part, moved)
        better = found < score[standing]
        worst[standing[better]] = moved[better]
        score[standing[better]] = found[better]
    return worst


def _scores(problem: Problem, images: Images) -> npt.NDArray[np.float32]:
    """Return how far images are from what the attack wants: float32 [count], in logits; 0 or less: they have it."""
    from dermrobust.attacks.logits import logits_of, margins

    logits = logits_of(problem.exactly().target, images, problem.batch_size)
    if not np.isfinite(logits).all():
        raise AttackError("the model's logits became NaN or infinite under attack")
    scores = margins(logits, problem.classes) * (-1 if problem.targeted else 1)
    reached = (logits.argmax(axis=1) == problem.classes) == problem.targeted
    # Between equal logits the prediction decides, as it does for whoever scores the image later.
    tiny = np.float32(np.finfo(np.float32).tiny)
    return np.asarray(np.where(reached, np.minimum(scores, 0.0), np.maximum(scores, tiny)))
