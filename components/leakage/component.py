"""Leakage: groups and copies of images that two splits share."""

from __future__ import annotations

from dermrobust.components.artifacts import ArtifactType
from dermrobust.components.component import Component, Params


class LeakageParams(Params):
    """No parameters: the thresholds were measured and are the same for everybody."""


LEAKAGE = Component(
    name="leakage",
    params=LeakageParams,
    inputs={"examples": ArtifactType.EXAMPLES},
    outputs={"leakage": ArtifactType.LEAKAGE},
    executor="dermrobust.components.leakage.executor:run",
    libraries=("numpy", "scipy"),
)
