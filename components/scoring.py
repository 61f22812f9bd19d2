"""Scores of stored images by the exact model."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from dermrobust.attacks.attack import Attack
from dermrobust.attacks.engine import to_images
from dermrobust.attacks.logits import logits_of
from dermrobust.attacks.problem import Labels
from dermrobust.attacks.repeated import majority_logits
from dermrobust.attacks.target import Target
from dermrobust.attacks.threat import Pixels
from dermrobust.components.attack_targets import probabilities_of


def evaluations_for(attacks: Iterable[Attack]) -> int:
    """Return how often each image is evaluated in an evaluation with these attacks."""
    return max((attack.repeats for attack in attacks), default=1)


def scored(
    classifier: Target, pixels: Pixels, labels: Labels, batch_size: int, evaluations: int
) -> npt.NDArray[np.float32]:
    """Return probabilities float32 [count, class_count]; none for no images.

    Args:
        classifier: the exact model.
        pixels: uint8 [count, height, width, 3].
        labels: int64 [count].
        batch_size: images per call.
        evaluations: number of evaluations of each image; from 2 on their majority decides, see `majority_logits`.
    """
    if not len(pixels):
        return np.empty((0, 0), np.float32)
    images = to_images(pixels)
    if evaluations == 1:
        return probabilities_of(logits_of(classifier, images, batch_size))
    return probabilities_of(majority_logits(classifier, images, labels, batch_size, evaluations))
