"""Preprocess: turn photographs into the stored 8-bit images that networks see."""

from __future__ import annotations

from dermrobust.components.artifacts import ArtifactType
from dermrobust.components.component import Component, Params
from dermrobust.models.preprocessing import Preprocessing


class PreprocessParams(Params, Preprocessing):
    """Parameters that turn a photograph into the input of a network."""


PREPROCESS = Component(
    name="preprocess",
    params=PreprocessParams,
    inputs={"dataset": ArtifactType.DATASET},
    outputs={"examples": ArtifactType.EXAMPLES},
    executor="dermrobust.components.preprocess.executor:run",
    libraries=("tensorflow", "tensorflow-datasets"),
    resumable=True,
)
