"""Problem: the classifier, images and budget that an attack is given."""

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
"""uint64 [batch], one for each image, so that randomness does not depend on how images are batched."""
Indices = npt.NDArray[np.int64]
"""int64 [chosen], places of images in a batch."""

_STRIDE = 0xD1B54A32D192ED03
"""Distance between the seeds of restarts. Not SplitMix64's own increment 0x9E3779B97F4A7C15, which the Square attack
counts by: the streams of two restarts would be shifted copies of each other."""


@dataclass(frozen=True)
class Problem:
    """Images that an attack is to make a classifier err on.

    Attributes:
        target: the classifier.
        images: float32 [count, height, width, 3], the clean images.
        labels: int64 [count], the true classes.
        threat: the threat model.
        seeds: uint64 [count].
        batch_size: number of images in a step.
        stop_at_success: whether the attack leaves an image once it has succeeded; False: it uses the whole budget.
        goals: int64 [count], the class that each image is to be classified as, or that directs the loss.
        any_error_counts: whether goals only direct the loss, and any other wrong class is a success as well.
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
        """Whether only the goal is a success, not any wrong class."""
        return self.goals is not None and not self.any_error_counts

    @property
    def aims(self) -> Labels:
        """Classes that a targeted loss refers to: int64 [count], the goals if there are some, else the true classes."""
        return self.labels if self.goals is None else self.goals

    @property
    def classes(self) -> Labels:
        """Classes that decide on success: int64 [count], the goals of a targeted attack, else the true classes."""
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
        """Return the same problem for the exact classifier, if the target is an approximation; see `Target.exact`."""
        return self if self.target.exact is None else dataclasses.replace(self, target=self.target.exact)

    def with_seeds(self, number: int) -> Problem:
        """Return the same problem with other seeds, for part `number` of an attack, such as a restart; 0: the same."""
        # Modulo 2**64 first: NumPy refuses larger Python integers. The sum of uint64 wraps around, as it should.
        return dataclasses.replace(self, seeds=self.seeds + np.uint64(number * _STRIDE % 2**64))

    def with_goals(self, goals: Labels, *, any_error_counts: bool = False) -> Problem:
        """Return the problem with goals: int64 [count]."""
        return dataclasses.replace(self, goals=goals, any_error_counts=any_error_counts)
