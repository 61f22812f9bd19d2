"""Leakage: groups and copies of images that two splits share."""

from __future__ import annotations

from dermrobust.components.artifacts import ArtifactType
from dermrobust.components.component import Component, Params


class LeakageParams(Params):
    """Leakage has no parameters: its thresholds are constants that were measured."""


LEAKAGE = Component(
    name="leakage",
    params=LeakageParams,
    inputs={"examples": ArtifactType.EXAMPLES},
    outputs={"leakage": ArtifactType.LEAKAGE},
    executor="dermrobust.components.leakage.executor:run",
    libraries=("numpy", "scipy"),
)
