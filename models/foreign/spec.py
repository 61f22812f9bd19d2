"""Descriptions of foreign models: input, outputs, and the evidence for both."""

from __future__ import annotations

import enum
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dermrobust.models.image_size import Size

Channels = Annotated[tuple[float, ...], Field(min_length=1, max_length=3)]
"""One value for all channels, or one for each of red, green and blue."""


class InputRange(enum.StrEnum):
    """Range of a model's images before normalization."""

    UNIT = "0..1"
    BYTES = "0..255"
    SIGNED = "-1..1"

    @property
    def bounds(self) -> tuple[float, float]:
        """Values of black and white."""
        black, white = self.value.split("..")
        return float(black), float(white)


class InputFormat(BaseModel):
    """Format of a model's input: images scaled to a range, then normalized by mean and standard deviation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    range: InputRange = Field(InputRange.UNIT, description="Values of black and white before normalization.")
    mean: Channels | None = Field(
        None, description="Mean to subtract: one for all channels, or one each for red, green and blue; null: none."
    )
    std: Channels | None = Field(None, description="Standard deviation to divide by, given together with the mean.")

    @model_validator(mode="after")
    def _normalizes_completely(self) -> Self:
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and standard deviation belong together: give both or neither")
        if any(len(values) == 2 for values in (self.mean or (), self.std or ()) if isinstance(values, tuple)):
            raise ValueError("give one value for all channels, or three")
        if self.std is not None and min(self.std) <= 0:
            raise ValueError("a standard deviation must be above 0")
        return self

    def __str__(self) -> str:
        """Return the format for readers: "0..1 (mean 0.5, std 0.25)"."""
        if self.mean is None or self.std is None:
            return str(self.range.value)
        mean, std = (" ".join(f"{value:g}" for value in values) for values in (self.mean, self.std))
        return f"{self.range.value} (mean {mean}, std {std})"

    def scale_and_offset(self) -> tuple[list[float], list[float]]:
        """Return the factor of images in [0, 1] and the summand after it, for each channel."""
        black, white = self.range.bounds
        mean, std = self.mean or (0.0,), self.std or (1.0,)
        means, stds = (list(values) * (3 // len(values)) for values in (mean, std))
        scale = [(white - black) / deviation for deviation in stds]
        return scale, [(black - center) / deviation for center, deviation in zip(means, stds, strict=True)]

    def scaled(self, images: Any) -> Any:
        """Return images in [0, 1] in this format: tensors float32 [count, height, width, 3]."""
        scale, offset = self.scale_and_offset()
        return images * scale + offset


IMAGENET = InputFormat(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""Format of many pretrained networks: mean and standard deviation of ImageNet's colors."""

CANDIDATES = (*(InputFormat(range=values) for values in InputRange), IMAGENET)
"""Formats that are tried where nothing indicates that of a model."""


class OutputKind(enum.StrEnum):
    """Kind of a model's outputs."""

    LOGITS = "logits"
    PROBABILITIES = "probabilities"


class Finding(BaseModel):
    """Finding on a model.

    Attributes:
        name: Subject: `image_size`, `classes`, `input`, `outputs` or `signature`.
        value: Value for readers.
        how: Whether the user gave it or it was detected.
        why: Evidence for a detected value.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    value: str
    how: Literal["given", "detected"]
    why: str = ""

    def __str__(self) -> str:
        """Return the finding in one line."""
        return f"{self.name} {self.value} ({self.how}{': ' if self.why else ''}{self.why})"


class Signature(BaseModel):
    """Signature of a SavedModel that classifies images.

    Attributes:
        name: Name of the signature.
        input: Name of its only input, float images [batch, height, width, 3].
        output: Name of the output that is used, float scores [batch, class_count].
        image_size: Size of the input in pixels; None where any size is taken.
        class_count: Number of scores; None where the signature does not declare it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    input: str
    output: str
    image_size: Size | None
    class_count: int | None


class Endpoint(BaseModel):
    """Input and output of a model of which only the answers are available.

    Attributes:
        input: Name of its only input.
        output: Name of the output that is used.
        outputs: Number of scores, or of classes where it returns class indices.
        image_size: Size of the input in pixels; None where any size is taken.
        url: Address of a served model, such as http://127.0.0.1:8501/v1/models/NAME; None: an ONNX file.
        version: Version of a served model.
        signature: Signature of a served model.
        labels_only: Whether it returns class indices, not scores.
        files: Whether it takes image files.
        batch: Batch size of an ONNX file; None where it is free.
        channels_first: Whether an ONNX file takes [batch, 3, height, width].
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: str
    output: str
    outputs: int
    image_size: Size | None
    url: str | None = None
    version: str | None = None
    signature: str | None = None
    labels_only: bool = False
    files: bool = False
    batch: int | None = None
    channels_first: bool = False


def is_url(location: Any) -> bool:
    """Return whether a model's location is an address, not a file."""
    return str(location).startswith(("http://", "https://"))


def is_black_box(location: Any) -> bool:
    """Return whether only the answers of the model at a location are available: an address, or an ONNX file."""
    return is_url(location) or str(location).endswith(".onnx")


class ForeignSpec(BaseModel):
    """Description of an adopted model, stored as `foreign.json` beside it.

    Attributes:
        format: Format of the adopted file.
        image_size: Size of the input in pixels.
        input: Format of the input, made from images in [0, 1].
        outputs: Kind of the outputs from which logits are computed; PROBABILITIES where no logits are accessible.
        signature: Signature of a SavedModel.
        endpoint: Input and output of a black box.
        differentiable: Whether a gradient reaches the images.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["keras", "saved_model", "onnx", "rest"]
    image_size: Size
    input: InputFormat
    outputs: OutputKind
    signature: Signature | None = None
    endpoint: Endpoint | None = None
    differentiable: bool = True


class Adoption(BaseModel):
    """Findings of an adoption.

    They are no part of the model's content: stating what would be detected anyway does not change its digest.

    Attributes:
        findings: Input and outputs, and the evidence for them.
        notes: Remarks for readers of the results.
        balanced_accuracy: Balanced accuracy on all clean images, in [0, 1].
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    balanced_accuracy: float
