"""Preprocess: photographs become what the network sees, stored as 8-bit images."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dermrobust.components.artifacts import ArtifactType
from dermrobust.components.component import Component, Params


class PreprocessParams(Params):
    """From a photograph to the network's input."""

    image_size: int = Field(32, ge=8, le=1024, description="Height and width of the network's input, in pixels.")
    color_constancy: Literal["none", "shades_of_gray"] = Field(
        "none", description="Correction of the light's colour (Finlayson & Trezzi 2004, norm 6)."
    )


PREPROCESS = Component(
    name="preprocess",
    params=PreprocessParams,
    inputs={"dataset": ArtifactType.DATASET},
    outputs={"examples": ArtifactType.EXAMPLES},
    executor="dermrobust.components.preprocess.executor:run",
    libraries=("tensorflow", "tensorflow-datasets"),
)
