"""What is known of a model that was trained elsewhere: what it takes, what it returns, and how that was found out."""

from __future__ import annotations

import enum
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Channels = Annotated[tuple[float, ...], Field(min_length=1, max_length=3)]
"""A value for all channels, or one for each of red, green and blue."""


class InputRange(enum.StrEnum):
    """Between which values a model's images lie before they are normalised."""

    UNIT = "0..1"
    BYTES = "0..255"
    SIGNED = "-1..1"

    @property
    def bounds(self) -> tuple[float, float]:
        """The values of black and white."""
        black, white = self.value.split("..")
        return float(black), float(white)


class InputFormat(BaseModel):
    """How an image becomes a model's input: scaled to a range, then normalised by mean and standard deviation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    range: InputRange = InputRange.UNIT
    mean: Channels | None = None
    std: Channels | None = None

    @model_validator(mode="after")
    def _normalises_completely(self) -> Self:
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and standard deviation belong together: give both or neither")
        if any(len(values) == 2 for values in (self.mean or (), self.std or ()) if isinstance(values, tuple)):
            raise ValueError("give one value for all channels, or three")
        if self.std is not None and min(self.std) <= 0:
            raise ValueError("a standard deviation must be above 0")
        return self

    def __str__(self) -> str:
        """The format as one reads it: "0..1 (mean 0.5, std 0.25)"."""
        if self.mean is None or self.std is None:
            return str(self.range.value)
        mean, std = (" ".join(f"{value:g}" for value in values) for values in (self.mean, self.std))
        return f"{self.range.value} (mean {mean}, std {std})"

    def scale_and_offset(self) -> tuple[list[float], list[float]]:
        """Return what images in [0, 1] are multiplied by, and what is added then, for each channel."""
        black, white = self.range.bounds
        mean, std = self.mean or (0.0,), self.std or (1.0,)
        means, stds = (list(values) * (3 // len(values)) for values in (mean, std))
        scale = [(white - black) / deviation for deviation in stds]
        return scale, [(black - center) / deviation for center, deviation in zip(means, stds, strict=True)]

    def scaled(self, images: Any) -> Any:
        """Return images in [0, 1] as the model takes them: tensors float32 [count, height, width, 3]."""
        scale, offset = self.scale_and_offset()
        return images * scale + offset


IMAGENET = InputFormat(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""Mean and standard deviation of ImageNet's colours, by which many pretrained networks are normalised."""

CANDIDATES = (*(InputFormat(range=values) for values in InputRange), IMAGENET)
"""What is tried where nothing tells what a model takes."""


class OutputKind(enum.StrEnum):
    """What a model returns."""

    LOGITS = "logits"
    PROBABILITIES = "probabilities"


class Finding(BaseModel):
    """One thing that is known of a model.

    Attributes:
        name: of what: `image_size`, `classes`, `input`, `outputs`, `signature`.
        value: as one reads it.
        how: whether the user said so or it was found out.
        why: what it was found by.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    value: str
    how: Literal["given", "detected"]
    why: str = ""

    def __str__(self) -> str:
        """The finding in a line."""
        return f"{self.name} {self.value} ({self.how}{': ' if self.why else ''}{self.why})"


class Signature(BaseModel):
    """The function of a SavedModel that classifies images.

    Attributes:
        name: of the signature.
        input: name of its only input, float images [batch, height, width, 3].
        output: name of the output that is used, float scores [batch, count].
        image_size: of its input; None where any size is taken.
        class_count: how many scores; None where the signature does not tell.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    input: str
    output: str
    image_size: int | None
    class_count: int | None


class ForeignSpec(BaseModel):
    """How an adopted model is called, as `foreign.json` beside it.

    Attributes:
        format: of the file that was given.
        image_size: of the input, in pixels.
        input: how images in [0, 1] become the model's input.
        outputs: what is turned into logits: PROBABILITIES where no logits could be had.
        signature: of a SavedModel.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["keras", "saved_model"]
    image_size: int
    input: InputFormat
    outputs: OutputKind
    signature: Signature | None = None


class Adoption(BaseModel):
    """What was found out when a model was adopted; no part of the model, so that saying the same changes nothing.

    Attributes:
        findings: what it takes and returns, and how that is known.
        notes: what the reader of a result should know.
        balanced_accuracy: on all clean images, in [0, 1].
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    balanced_accuracy: float
