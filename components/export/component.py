"""Component that exports a blessed model as a SavedModel."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from dermrobust.components.artifacts import ArtifactType
from dermrobust.components.component import Component, Params
from dermrobust.components.export.formats.registry import EXPORTERS


class ExportParams(Params):
    """Parameters of export."""

    warmup_requests: int = Field(
        8, ge=1, le=1000, description="Number of requests that TensorFlow Serving replays on loading."
    )
    canary_images: int = Field(
        64, ge=1, le=10_000, description="Number of test images that a fresh process classifies for comparison."
    )
    formats: Annotated[tuple[str, ...], AfterValidator(lambda names: tuple(map(EXPORTERS.check, names)))] = Field(
        (), description="Further formats, written into assets.extra of the SavedModel: litert, onnx."
    )
    referral_rate: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Rate of evaluate.referral.rates at which the exported model refers images; null: the smallest.",
    )
    tolerance: float = Field(1e-5, gt=0, le=1e-2, description="Largest accepted difference of a probability.")

    def plugins(self) -> frozenset[str]:
        """See `Params.plugins`."""
        return super().plugins() | {EXPORTERS.module(name) for name in self.formats}


EXPORT = Component(
    name="export",
    params=ExportParams,
    inputs={
        "model": ArtifactType.MODEL,
        "blessing": ArtifactType.BLESSING,
        "dataset": ArtifactType.DATASET,
        "examples": ArtifactType.EXAMPLES,
        "referrals": ArtifactType.REFERRALS,
    },
    outputs={"exported_model": ArtifactType.EXPORTED_MODEL},
    executor="dermrobust.components.export.executor:run",
    libraries=("tensorflow", "keras", "tensorflow-serving-api"),
)
