"""Which preprocessing a foreign model was trained with, measured on labelled images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dermrobust.attacks.errors import UserError
from dermrobust.attacks.problem import Labels
from dermrobust.attacks.threat import Images
from dermrobust.models.foreign.spec import CANDIDATES, Finding, InputFormat, InputRange

LogitsIn = Callable[[Images, InputFormat], npt.NDArray[np.float32]]
"""(images float32 [count, size, size, 3] in [0, 1], how the model takes them) -> logits [count, class_count]."""

_CLEAR_LEAD = 0.05
"""In balanced accuracy; less is no reason to prefer one preprocessing to another."""
_SURE = 1.96
"""Standard errors that a lead must exceed."""
_OPTIONS = f"--input-range {'|'.join(InputRange)}, and --mean and --std if images were normalised"


@dataclass(frozen=True)
class Trial:
    """A preprocessing on labelled images.

    Attributes:
        right: bool [count], which images are classified correctly; none where an output is not finite.
        accuracy: balanced over the classes that the images show.
    """

    right: npt.NDArray[np.bool_]
    accuracy: float


def balanced_accuracy(right: npt.NDArray[np.bool_], labels: Labels) -> float:
    """Return the mean over classes of the share of right answers."""
    return float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))


def measure(
    logits: LogitsIn, images: Images, labels: Labels, formats: Sequence[InputFormat]
) -> dict[InputFormat, Trial]:
    """Return a trial for each format."""
    trials = {}
    for candidate in formats:
        scores = logits(images, candidate)
        right = (scores.argmax(axis=1) == labels) & np.isfinite(scores).all(axis=1)
        trials[candidate] = Trial(right, balanced_accuracy(right, labels))
    return trials


def leads(first: Trial, second: Trial, labels: Labels) -> bool:
    """Tell whether the first is better beyond doubt: by 0.05, and by 1.96 standard errors of the paired difference."""
    difference = first.right.astype(np.float64) - second.right
    groups = [difference[labels == label] for label in np.unique(labels)]
    error = float(np.sqrt(sum(group.var() / len(group) for group in groups)) / len(groups))
    return first.accuracy - second.accuracy >= max(_CLEAR_LEAD, _SURE * error)


def find_input(
    logits: LogitsIn, images: Images, labels: Labels, hint: tuple[InputFormat, str] | None
) -> tuple[InputFormat, Finding]:
    """Return the format under which the model classifies labelled images best, and how that was found.

    Args:
        logits: of the model.
        images: float32 [count, size, size, 3] in [0, 1].
        labels: int64 [count].
        hint: what the model's own layers say, and which: it holds unless measurement clearly contradicts.

    Raises:
        UserError: no format is clearly the best, or the layers and the measurement contradict each other.
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
                f"the model's own layers ({why}) speak for images in {expected}, but measured, others do clearly "
                f"better ({measured}). Say what it takes: {_OPTIONS}"
            )
        return expected, Finding(name="input", value=str(expected), how="detected", why=why)
    chance = 1.0 / logits(images[:1], best).shape[1]
    if not leads(trials[best], trials[second], labels) or trials[best].accuracy <= chance:
        raise UserError(f"it is not clear which values the model takes ({measured}). Say so: {_OPTIONS}")
    return best, Finding(name="input", value=str(best), how="detected", why=measured)


def doubt(logits: LogitsIn, images: Images, labels: Labels, given: InputFormat) -> str | None:
    """Return a remark if the model classifies clearly better with another format than with the one that was given."""
    trials = measure(logits, images, labels, (given, *CANDIDATES))
    best = max(CANDIDATES, key=lambda candidate: trials[candidate].accuracy)
    if not leads(trials[best], trials[given], labels):
        return None
    return (
        f"with input {best} the model does clearly better than with {given}, as given (balanced accuracy on "
        f"{len(labels)} images {trials[best].accuracy:.3f} against {trials[given].accuracy:.3f})"
    )
