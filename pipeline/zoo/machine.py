"""Description of this machine and of this checkout, for model cards."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import psutil

_CPUINFO = Path("/proc/cpuinfo")
_FEATURES = {"avx2": "AVX2", "avx512f": "AVX-512", "amx_tile": "AMX"}
"""Instruction sets that decide on the speed of TensorFlow, by their names in /proc/cpuinfo."""


def machine() -> str:
    """Return this machine in short, such as "2 cores (Intel Xeon; AVX2, AVX-512), 24 GiB"."""
    words: set[str] = set()
    processor = platform.machine()
    if _CPUINFO.exists():
        lines = dict(line.split(":", 1) for line in _CPUINFO.read_text().splitlines() if ":" in line)
        fields = {name.strip(): value.strip() for name, value in lines.items()}
        processor, words = fields.get("model name", processor), set(fields.get("flags", "").split())
    found = ", ".join(title for flag, title in _FEATURES.items() if flag in words)
    # Cores that this process may use: in a container the machine has more.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = psutil.virtual_memory().total / 2**30
    return f"{cores} cores ({processor}{f'; {found}' if found else ''}), {memory:.0f} GiB"


def commit() -> str | None:
    """Return the commit of the checkout that this package lies in; None where it lies in none."""
    root = Path(__file__).resolve().parents[2]
    # A package that is installed below somebody else's checkout must not claim its commit.
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, timeout=10)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
