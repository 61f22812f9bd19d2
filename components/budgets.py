"""Budgets of the stages that store adversarial images in 8 bits."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from dermrobust.attacks.threat import Threat, ThreatModel


def _of_a_level(threat: ThreatModel) -> ThreatModel:
    if threat.epsilon < 1:
        raise ValueError(f"{threat} is less than one level of an 8-bit image; the least is 1 (in 1/255)")
    return threat


StorableThreat = Annotated[Threat, AfterValidator(_of_a_level)]
"""A threat model that leaves an image stored in 8 bits something to change; see `dermrobust.attacks.threat.Threat`."""
