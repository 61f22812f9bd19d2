"""Files of a model artifact, and models loaded once per process."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
from apache_beam.utils.shared import Shared
from pydantic import BaseModel, ConfigDict

from dermrobust.attacks.target import Precision, Target
from dermrobust.components import storage
from dermrobust.components.artifacts import Artifact, read_as
from dermrobust.models.classifier import attack_target, load_network_bytes
from dermrobust.models.devices import prepare_devices
from dermrobust.models.preprocessing import Preprocessing

NETWORK = "model.keras"
SPEC = "model.json"
HISTORY = "history.json"
METRICS = "metrics.json"

_handles: dict[tuple[str, ...], Shared] = {}


class ModelSpec(BaseModel):
    """Input and classes of a network, stored as `model.json` beside it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    class_names: tuple[str, ...]
    preprocessing: Preprocessing

    @classmethod
    def read(cls, artifact: Artifact) -> ModelSpec:
        """Read the spec of a model artifact."""
        return read_as(cls, artifact, SPEC)


def loaded_once(key: tuple[str, ...], load: Callable[[], Any]) -> Any:
    """Return what `load` returns, loaded once per process even if several threads ask for the same key at once.

    `Shared` keeps alive only what was acquired last, but a worker alternates between models, their surrogates and their
    precisions. Callers therefore hold a few results in an `lru_cache`, which by itself lets threads load twice.
    """
    # `setdefault` is atomic: all threads get the same handle, whose lock lets one of them load.
    return _handles.setdefault(key, Shared()).acquire(load)


@functools.lru_cache(maxsize=4)
def load_network(uri: str, digest: str) -> keras.Model:
    """Return the network of a model artifact; loaded once per process and content, which `digest` stands for."""
    return loaded_once(("network", digest), lambda: load_network_bytes(storage.read_bytes(storage.join(uri, NETWORK))))


@functools.lru_cache(maxsize=8)
def load_target(uri: str, digest: str, precision: Precision) -> Target:
    """Return a model artifact as attacks see it: folded, with gradients of a precision; see `load_network`."""
    prepare_devices()
    target: Target = loaded_once(
        ("target", digest, precision), lambda: attack_target(load_network(uri, digest), precision=precision)
    )
    return target


@functools.lru_cache(maxsize=8)
def load_classifier(uri: str, digest: str) -> Target:
    """Return a model artifact exactly as it is, to score images by; see `load_network`."""
    prepare_devices()
    target: Target = loaded_once(
        ("classifier", digest), lambda: attack_target(load_network(uri, digest), folding=False)
    )
    return target
