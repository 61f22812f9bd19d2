"""Escalation of attacks on models whose gradients are masked: what the artifact says."""

from __future__ import annotations

from dermrobust.components.artifacts import Artifact, read_as
from dermrobust.components.evaluation.content import Content

ESCALATION = "escalation.json"
"""File of an artifact of escalated attacks: an `Escalation`."""
ESCALATED = "escalated"
"""Kind of the probe, and name of the attack."""


class Escalation(Content):
    """Content of `escalation.json`.

    Attributes:
        signs: names of the self-checks of masked gradients that the model fails; empty: nothing was escalated.
        random: whether the model answers differently each time, so that most of several evaluations decided.
        evaluations: number of these evaluations.
    """

    signs: tuple[str, ...] = ()
    random: bool = False
    evaluations: int = 1

    @classmethod
    def read(cls, artifact: Artifact) -> Escalation:
        """Read the content of an artifact."""
        return read_as(cls, artifact, ESCALATION)
