"""Settings of the stages that attack."""

from __future__ import annotations

from pydantic import Field

from dermrobust.attacks.target import Precision
from dermrobust.components.component import Params


class AttackSettings(Params):
    """Batch size, gradient precision and seed of attacks."""

    batch_size: int = Field(128, ge=1, le=4096, description="Images per gradient step.")
    gradient_precision: Precision = Field(
        "float32",
        description="Precision of an attack's gradients. bfloat16 is faster on CPUs with AMX or AVX-512-BF16 "
        "(docs/benchmarks.md) and not measured on others. Success is decided in float32 either way.",
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of random starts; in a config by default the pipeline's.")
