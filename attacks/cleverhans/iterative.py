"""What the attacks that repeat a gradient step share: how many and how long the steps are."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from dermrobust.attacks.attack import TargetedAttack
from dermrobust.attacks.threat import PIXEL_LEVELS, ThreatModel


class IterativeAttack(TargetedAttack):
    """Repeated steps of one length."""

    iterative: ClassVar[bool] = True

    steps: int = Field(20, ge=1, le=10_000, description="Gradient steps.")
    step_size: float | None = Field(
        None,
        gt=0,
        le=1e6,
        description="Length of a step in 1/255; null: 2.5 * epsilon / steps (Madry et al.).",
    )

    def step_length(self, threat: ThreatModel) -> float:
        """Return a step's length on the scale of the images; no longer than the budget, which CleverHans refuses."""
        longest = min(threat.epsilon, self.step_size or 2.5 * threat.epsilon / self.steps)
        return longest / PIXEL_LEVELS * threat.bounds.width
