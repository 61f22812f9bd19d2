"""What an attack is given: a classifier, images with their true classes, and a budget."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dermrobust.attacks.target import Target
from dermrobust.attacks.threat import Images, ThreatModel

Labels = npt.NDArray[np.int64]
"""int64 [batch], the true classes."""
Seeds = npt.NDArray[np.uint64]
"""uint64 [batch], one for each image, so that randomness does not depend on how images were batched."""
Indices = npt.NDArray[np.int64]

_STRIDE = 0xD1B54A32D192ED03
"""Between seeds of restarts. Not the 0x9E3779B97F4A7C15 by which SplitMix64 counts: streams would be shifted copies."""


@dataclass(frozen=True)
class Problem:
    """Images that are to be moved to where the classifier errs.

    Attributes:
        target: the classifier.
        images: float32 [count, height, width, 3], the clean images.
        labels: int64 [count], the true classes.
        threat: which images may be handed in.
        seeds: uint64 [count].
        batch_size: images a step.
        stop_at_success: leave an image as soon as it has what the attack wants; False: make the most of the budget.
        goals: int64 [count], the class that an attack leads each image to.
        any_error_counts: with goals: an image that is taken for another wrong class is a success as well.
    """

    target: Target
    images: Images
    labels: Labels
    threat: ThreatModel
    seeds: Seeds
    batch_size: int = 128
    stop_at_success: bool = False
    goals: Labels | None = None
    any_error_counts: bool = False

    @property
    def targeted(self) -> bool:
        """Whether each image is to be taken for one class, not just for any wrong one."""
        return self.goals is not None and not self.any_error_counts

    @property
    def aims(self) -> Labels:
        """The classes that a loss speaks of: int64 [count], goals where there are some, else the true classes."""
        return self.labels if self.goals is None else self.goals

    @property
    def classes(self) -> Labels:
        """The classes that decide on success: int64 [count], the goals of a targeted attack, else the true classes."""
        return self.aims if self.targeted else self.labels

    def take(self, indices: Indices) -> Problem:
        """Return the same problem for some of the images."""
        return dataclasses.replace(
            self,
            images=self.images[indices],
            labels=self.labels[indices],
            seeds=self.seeds[indices],
            goals=None if self.goals is None else self.goals[indices],
        )

    def exactly(self) -> Problem:
        """Return the same problem on the classifier itself, where its target only comes near it."""
        return self if self.target.exact is None else dataclasses.replace(self, target=self.target.exact)

    def with_seeds(self, number: int) -> Problem:
        """Return the same problem with seeds of their own for a part of an attack, such as a restart."""
        return dataclasses.replace(self, seeds=self.seeds + np.uint64(number * _STRIDE % 2**64))

    def with_goals(self, goals: Labels, *, any_error_counts: bool = False) -> Problem:
        """Return the problem of having each image taken for a class: int64 [count]."""
        return dataclasses.replace(self, goals=goals, any_error_counts=any_error_counts)
