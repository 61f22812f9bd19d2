"""Answers of models that answer differently each time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dermrobust.attacks.logits import Logits, logits_of
from dermrobust.attacks.problem import Labels
from dermrobust.attacks.target import Target
from dermrobust.attacks.threat import Images

RANDOM = 1e-3
"""Share of the logits' spread by which only chance changes them; the order of sums changes them by less."""


def is_random(target: Target, images: Images, batch_size: int) -> bool:
    """Return whether an image has other logits when it is classified again, or at another place of the batch."""
    first, second = logits_of(target, images, batch_size), logits_of(target, images, batch_size)
    turned = np.roll(logits_of(target, np.roll(images, 1, axis=0), batch_size), -1, axis=0)
    spread = np.maximum(np.ptp(first, axis=1), np.finfo(np.float32).tiny)
    differences = (np.abs(other - first).max(axis=1) / spread for other in (second, turned))
    return any(bool((difference > RANDOM).any()) for difference in differences)


def majority_logits(target: Target, images: Images, labels: Labels, batch_size: int, evaluations: int) -> Logits:
    """Return logits whose argmax is wrong for the images that most evaluations misclassify: float32 [count, classes].

    They are the mean of the evaluations that agree with this decision: those that are right, or those with the most
    frequent wrong class.

    Args:
        target: the classifier.
        images: float32 [count, height, width, 3].
        labels: int64 [count].
        batch_size: images per call.
        evaluations: number of evaluations.
    """
    found = np.stack([_turned(target, images, batch_size, number) for number in range(evaluations)])
    predicted = found.argmax(axis=2)
    decided = np.asarray([_decision(answers, label) for answers, label in zip(predicted.T, labels, strict=True)])
    agree = (predicted == decided)[..., None]
    return np.asarray((found * agree).sum(axis=0) / agree.sum(axis=0), np.float32)


def _turned(target: Target, images: Images, batch_size: int, number: int) -> Logits:
    # Layers that draw from a fixed seed answer alike in every call, but differently at each place of the batch.
    turned = logits_of(target, np.roll(images, number, axis=0), batch_size)
    return np.roll(turned, -number, axis=0)


def _decision(answers: npt.NDArray[np.int64], label: int) -> int:
    wrong = answers[answers != label]
    return int(np.bincount(wrong).argmax()) if 2 * len(wrong) > len(answers) else int(label)
