"""Gradient precision: a parameter of the stages that attack."""

from __future__ import annotations

from typing import Any

from pydantic import Field

GRADIENT_PRECISION: Any = Field(
    "float32",
    description="Precision of an attack's gradients. bfloat16 is faster on CPUs with AMX or AVX-512-BF16 "
    "(docs/benchmarks.md) and not measured on others. Success is decided in float32 either way.",
)
