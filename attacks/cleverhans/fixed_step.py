"""Base of iterative attacks with steps of one length."""

from __future__ import annotations

from pydantic import Field

from dermrobust.attacks.attack import IterativeAttack, TargetedAttack
from dermrobust.attacks.threat import PIXEL_LEVELS, ThreatModel


class FixedStepAttack(IterativeAttack, TargetedAttack):
    """An iterative attack whose steps all have the same length."""

    step_size: float | None = Field(
        None,
        gt=0,
        le=1e6,
        description="Length of a step in 1/255; null: 2.5 * epsilon / steps (Madry et al. 2018).",
    )

    def step_length(self, threat: ThreatModel) -> float:
        """Return the length of a step on the scale of the images."""
        # At most the budget: CleverHans refuses longer steps, and a projection would cut them anyway.
        longest = min(threat.epsilon, self.step_size or 2.5 * threat.epsilon / self.steps)
        return longest / PIXEL_LEVELS * threat.bounds.width
