"""Component that exports a blessed model as a SavedModel."""

from __future__ import annotations

from pydantic import Field

from dermrobust.components.artifacts import ArtifactType
from dermrobust.components.component import Component, Params


class ExportParams(Params):
    """Parameters of export."""

    warmup_requests: int = Field(
        8, ge=1, le=1000, description="Number of requests that TensorFlow Serving replays on loading."
    )
    canary_images: int = Field(
        64, ge=1, le=10_000, description="Number of test images that a fresh process classifies for comparison."
    )
    tolerance: float = Field(1e-5, gt=0, le=1e-2, description="Largest accepted difference of a probability.")


EXPORT = Component(
    name="export",
    params=ExportParams,
    inputs={
        "model": ArtifactType.MODEL,
        "blessing": ArtifactType.BLESSING,
        "dataset": ArtifactType.DATASET,
        "examples": ArtifactType.EXAMPLES,
    },
    outputs={"exported_model": ArtifactType.EXPORTED_MODEL},
    executor="dermrobust.components.export.executor:run",
    libraries=("tensorflow", "keras", "tensorflow-serving-api"),
)
