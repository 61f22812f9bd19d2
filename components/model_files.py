"""The files of a model artifact, and loading it once per process."""

from __future__ import annotations

import functools

import keras
from pydantic import BaseModel, ConfigDict

from dermrobust.attacks.target import Precision, Target
from dermrobust.components import storage
from dermrobust.components.artifacts import Artifact
from dermrobust.models.classifier import attack_target, compute_deterministically, load_network_bytes
from dermrobust.models.preprocessing import Preprocessing

NETWORK = "model.keras"
SPEC = "model.json"
HISTORY = "history.json"
METRICS = "metrics.json"


class ModelSpec(BaseModel):
    """What a network takes and returns, as `model.json` beside it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    class_names: tuple[str, ...]
    preprocessing: Preprocessing

    @classmethod
    def read(cls, artifact: Artifact) -> ModelSpec:
        """Read the spec of a model artifact."""
        return cls.model_validate(artifact.read_json(SPEC))


@functools.lru_cache(maxsize=4)
def load_network(uri: str, digest: str) -> keras.Model:
    """Load the network of a model artifact; once per process and content, which `digest` stands for."""
    del digest
    return load_network_bytes(storage.read_bytes(storage.join(uri, NETWORK)))


@functools.lru_cache(maxsize=8)
def load_target(uri: str, digest: str, precision: Precision) -> Target:
    """Return what an attack sees of a model artifact; once per process and content."""
    compute_deterministically()
    return attack_target(load_network(uri, digest), precision=precision)


@functools.lru_cache(maxsize=8)
def load_classifier(uri: str, digest: str) -> Target:
    """Return the network of a model artifact exactly as it is, to score images by; once per process and content."""
    compute_deterministically()
    return attack_target(load_network(uri, digest), folding=False)
