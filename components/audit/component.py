"""Components that turn a model that was trained elsewhere, and images with labels, into artifacts of the pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from dermrobust.components.artifacts import ArtifactType
from dermrobust.components.component import NOT_IN_FINGERPRINT, Component, Params
from dermrobust.components.examples_layout import Split
from dermrobust.models.foreign.spec import InputFormat, OutputKind
from dermrobust.models.preprocessing import Preprocessing
from dermrobust.models.task import Task


class AdoptDataParams(Params):
    """Parameters of adopt_data."""

    images: str = Field(description="Folder of the images.", json_schema_extra=NOT_IN_FINGERPRINT)
    labels: str = Field(description="Table of the labels.", json_schema_extra=NOT_IN_FINGERPRINT)
    validation_images: str | None = Field(
        None,
        description="Folder of further images, which a rejector is fitted to; null: none.",
        json_schema_extra=NOT_IN_FINGERPRINT,
    )
    validation_labels: str | None = Field(
        None, description="Table of their labels.", json_schema_extra=NOT_IN_FINGERPRINT
    )
    task: Task = Field(description="Classification problem; its classes are in the order of the model's outputs.")
    preprocessing: Preprocessing = Field(description="Preprocessing of the images for the model.")
    limit: int | None = Field(None, ge=1, description="Number of audited images, drawn at random; null: all.")

    def sources(self) -> dict[Split, tuple[Path, Path]]:
        """Return the folder of images and the table of labels of each split that is given."""
        found = {Split.TEST: (Path(self.images), Path(self.labels))}
        if self.validation_images is not None and self.validation_labels is not None:
            found[Split.VALIDATION] = (Path(self.validation_images), Path(self.validation_labels))
        return found


class AdoptModelParams(Params):
    """Which model; what is not given is found out."""

    model: str = Field(
        description="A .keras or .onnx file, the folder of a SavedModel, or the address of a served model.",
        json_schema_extra=NOT_IN_FINGERPRINT,
    )
    input: InputFormat | None = Field(None, description="How it takes images; null: found out on labelled images.")
    outputs: OutputKind | None = Field(None, description="What it returns; null: found out.")
    signature: str | None = Field(None, description="Signature of a SavedModel; null: the one that fits.")
    trusted: bool = Field(
        False, description="Accept operations of a SavedModel that might touch files or run code: its origin is known."
    )
    stated: tuple[Literal["image_size", "classes"], ...] = Field(
        (), description="What the user has said beside this; the rest of it comes from the model and the labels."
    )


ADOPT_DATA = Component(
    name="adopt_data",
    params=AdoptDataParams,
    inputs={},
    outputs={"examples": ArtifactType.EXAMPLES},
    executor="dermrobust.components.audit.data:run",
    external_content="dermrobust.components.audit.content:data_digest",
    libraries=("tensorflow", "pillow", "pyarrow"),
)

ADOPT_MODEL = Component(
    name="adopt_model",
    params=AdoptModelParams,
    inputs={"examples": ArtifactType.EXAMPLES},
    outputs={"model": ArtifactType.MODEL},
    executor="dermrobust.components.audit.model:run",
    external_content="dermrobust.components.audit.content:model_digest",
    libraries=("tensorflow", "keras"),
)
