"""The parameter of the stages that attack: in which precision gradients are computed."""

from __future__ import annotations

from typing import Any

from pydantic import Field

GRADIENT_PRECISION: Any = Field(
    "float32",
    description="Of an attack's gradients. bfloat16: faster on CPUs with AMX or AVX-512-BF16 (docs/benchmarks.md); not "
    "measured on others. Whether an attack has succeeded is decided in float32 all the same.",
)
