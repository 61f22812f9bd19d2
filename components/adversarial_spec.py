"""Description of an artifact of adversarial examples."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from dermrobust.attacks.threat import Threat
from dermrobust.components.artifacts import Artifact, read_as
from dermrobust.components.examples import Split, shard_name

SPEC = "adversarial.json"


class AdversarialSpec(BaseModel):
    """Description of adversarial examples, stored as `adversarial.json` beside the shards.

    Attributes:
        split: Split of the attacked images.
        shards: Number of shards.
        count: Number of adversarial images.
        attack: Attack with its parameters.
        threat: Budget.
        source_model: Fingerprint of the attacked model.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    split: Split
    shards: int
    count: int
    attack: dict[str, Any]
    threat: Threat
    source_model: str

    @classmethod
    def read(cls, artifact: Artifact) -> AdversarialSpec:
        """Read the description of an artifact."""
        return read_as(cls, artifact, SPEC)


def shard_uris(artifact: Artifact, spec: AdversarialSpec) -> list[str]:
    """Return the shards in order."""
    return [artifact.path(shard_name(spec.split, index, spec.shards)) for index in range(spec.shards)]
