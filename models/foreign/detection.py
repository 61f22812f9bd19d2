"""Detection of a foreign model's input format, measured on labeled images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dermrobust.attacks.errors import UserError
from dermrobust.attacks.problem import Labels
from dermrobust.attacks.threat import Images
from dermrobust.models.balanced_accuracy import balanced_accuracy
from dermrobust.models.foreign.spec import CANDIDATES, Finding, InputFormat, InputRange

LogitsIn = Callable[[Images, InputFormat], npt.NDArray[np.float32]]
"""(images float32 [count, height, width, 3] in [0, 1], input format) -> logits [count, class_count]."""

_CLEAR_LEAD = 0.05
"""Least lead in balanced accuracy that counts: with many images even a meaningless one is significant."""
_SURE = 1.96
"""Number of standard errors that a lead must exceed: 95 % confidence, two-sided."""
_OPTIONS = f"--input-range {'|'.join(InputRange)}, and --mean and --std if images were normalized"


@dataclass(frozen=True)
class Trial:
    """Result of an input format on labeled images.

    Attributes:
        right: Whether each image is classified correctly, bool [count]; False where an output is not finite.
        accuracy: Balanced accuracy over the classes that are present.
    """

    right: npt.NDArray[np.bool_]
    accuracy: float


def measure(
    logits: LogitsIn, images: Images, labels: Labels, formats: Sequence[InputFormat]
) -> dict[InputFormat, Trial]:
    """Return a trial for each format."""
    trials = {}
    for candidate in formats:
        scores = logits(images, candidate)
        right = (scores.argmax(axis=1) == labels) & np.isfinite(scores).all(axis=1)
        trials[candidate] = Trial(right, balanced_accuracy(labels, right))
    return trials


def leads(first: Trial, second: Trial, labels: Labels) -> bool:
    """Return whether the first is better by at least 0.05, and by 1.96 standard errors of the paired difference."""
    difference = first.right.astype(np.float64) - second.right
    # Balanced accuracy is a mean over classes: its variance is that of the classes' means, which are independent.
    groups = [difference[labels == label] for label in np.unique(labels)]
    error = float(np.sqrt(sum(group.var() / len(group) for group in groups)) / len(groups))
    return first.accuracy - second.accuracy >= max(_CLEAR_LEAD, _SURE * error)


def find_input(
    logits: LogitsIn, images: Images, labels: Labels, hint: tuple[InputFormat, str] | None
) -> tuple[InputFormat, Finding]:
    """Return the format with which the model classifies labeled images best, and the evidence for it.

    Args:
        logits: Logits of the model.
        images: float32 [count, height, width, 3] in [0, 1].
        labels: int64 [count].
        hint: Format that the model's own layers indicate, and the layer; it holds unless the measurement clearly
            contradicts.

    Raises:
        UserError: No format is clearly the best, or the layers and the measurement contradict each other.
    """
    trials = measure(logits, images, labels, CANDIDATES)
    ranking = sorted(CANDIDATES, key=lambda candidate: -trials[candidate].accuracy)
    best, second = ranking[:2]
    figures = ", ".join(f"{candidate} {trials[candidate].accuracy:.3f}" for candidate in ranking)
    measured = f"balanced accuracy on {len(labels)} images: {figures}"
    if hint is not None:
        expected, why = hint
        if leads(trials[best], trials[expected], labels):
            raise UserError(
                f"the model's own layers ({why}) indicate images in {expected}, but another format is clearly better "
                f"({measured}). State the format: {_OPTIONS}"
            )
        return expected, Finding(name="input", value=str(expected), how="detected", why=why)
    chance = 1.0 / logits(images[:1], best).shape[1]
    if not leads(trials[best], trials[second], labels) or trials[best].accuracy <= chance:
        raise UserError(f"it is not clear which values the model takes ({measured}). State them: {_OPTIONS}")
    return best, Finding(name="input", value=str(best), how="detected", why=measured)


def doubt(logits: LogitsIn, images: Images, labels: Labels, given: InputFormat) -> str | None:
    """Return a remark if the model classifies clearly better with another format than the given one."""
    trials = measure(logits, images, labels, (given, *CANDIDATES))
    best = max(CANDIDATES, key=lambda candidate: trials[candidate].accuracy)
    if not leads(trials[best], trials[given], labels):
        return None
    return (
        f"the model is clearly better with input {best} than with the given {given} (balanced accuracy on "
        f"{len(labels)} images {trials[best].accuracy:.3f} against {trials[given].accuracy:.3f})"
    )
