"""Transform: predictions of a model on test images that were transformed within threat models beyond a norm."""

from __future__ import annotations

from dermrobust.components.artifacts import ArtifactType
from dermrobust.components.component import Component
from dermrobust.components.evaluation.transform_params import TransformParams

TRANSFORM = Component(
    name="transform",
    params=TransformParams,
    inputs={"examples": ArtifactType.EXAMPLES, "model": ArtifactType.MODEL},
    outputs={"predictions": ArtifactType.PREDICTIONS},
    executor="dermrobust.components.transform.executor:run",
    libraries=("tensorflow", "keras", "pyarrow"),
    resumable=True,
)
