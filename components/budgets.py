"""Budgets of the stages that store adversarial images in 8 bits."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from dermrobust.attacks.threat import Threat, ThreatModel


def _at_least_one_level(threat: ThreatModel) -> ThreatModel:
    # Rounding an image to 8 bits would leave less than 1/255 at the clean image: every attack would seem to fail.
    if threat.epsilon < 1:
        raise ValueError(f"{threat} is less than one level of an 8-bit image; the least is 1 (in 1/255)")
    return threat


StorableThreat = Annotated[Threat, AfterValidator(_at_least_one_level)]
"""Threat model of at least one level of an 8-bit image; see `dermrobust.attacks.threat.Threat`."""
