"""Parameters of the escalation of attacks on models whose gradients are masked.

Apart from what the artifact says, so that a change of these attacks does not measure models again that need none.
"""

from __future__ import annotations

from pydantic import Field

from dermrobust.attacks.escalated import Escalated
from dermrobust.components.component import Params
from dermrobust.components.evaluation.params import PredictParams


class EscalationSettings(Params):
    """Attacks on models that fail a self-check of masked gradients."""

    images: int | None = Field(
        None, ge=0, le=1_000_000, description="Test images that are tried; null: all that still stand; 0 disables it."
    )
    attack: Escalated = Field(default_factory=Escalated, description="Parameters of the attack `escalated`.")


class EscalateParams(PredictParams):
    """Attacks and budgets of the evaluation, and what follows where they are not to be believed."""

    escalation: EscalationSettings = Field(
        default_factory=EscalationSettings, description="Attacks on models that fail a self-check of masked gradients."
    )
