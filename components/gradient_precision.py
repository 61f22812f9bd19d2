"""The parameter of the stages that attack: in which precision gradients are computed."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

Precision = Literal["float32", "bfloat16"]
"""See `models.classifier.Precision`; declared again, since a declaration imports no TensorFlow."""

GRADIENT_PRECISION: Any = Field(
    "float32",
    description="Of an attack's gradients. bfloat16: about twice as fast on CPUs with AMX or AVX-512-BF16, far slower "
    "on others; whether an attack has succeeded is decided in float32 all the same.",
)
