"""Networks and objectives by the name that a config gives; adding one is its file and its line here.

Names are kept apart from the code that they stand for, so that a config can be checked without TensorFlow.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

NETWORKS: Mapping[str, str] = {
    "small_resnet": "models.networks:small_resnet",
    "resnet": "models.networks:resnet",
}
"""`module:function` of type `models.networks.NetworkFn`."""

OBJECTIVES: Mapping[str, str] = {
    "cross_entropy": "models.objectives.cross_entropy:cross_entropy",
}
"""`module:function` of type `models.objectives.objective.Objective`."""


def checked_name(name: str, registry: Mapping[str, str], kind: str) -> str:
    """Return a name that a registry knows.

    Raises:
        ValueError: it does not; the message lists what it knows.
    """
    if name not in registry:
        raise ValueError(f"there is no {kind} '{name}'; there are: {', '.join(sorted(registry))}")
    return name


def resolve(name: str, registry: Mapping[str, str]) -> Any:
    """Return what a name stands for."""
    module, attribute = registry[name].split(":")
    return getattr(importlib.import_module(module), attribute)
