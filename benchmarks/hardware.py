"""What the processor can do."""

from __future__ import annotations

from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


def has_bfloat16() -> bool:
    """Tell whether the processor multiplies bfloat16 numbers by itself (AMX or AVX-512-BF16); False where unknown."""
    if not _CPUINFO.exists():
        return False
    words = set(_CPUINFO.read_text().split())
    return bool({"amx_bf16", "avx512_bf16"} & words)
