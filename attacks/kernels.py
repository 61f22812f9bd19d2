"""Kernels of TensorFlow on CPUs."""

from __future__ import annotations

import os
import platform
import sys

_VARIABLE = "TF_ENABLE_ONEDNN_OPTS"
"""TensorFlow reads it once, when it is imported."""
_X86 = ("x86_64", "AMD64")


def prefer_onednn() -> None:
    """Turn oneDNN on for x86 processors, unless the user has decided or TensorFlow is imported already.

    By itself TensorFlow does so only where it finds instructions for neural networks, such as AVX-512 VNNI. With AVX2
    alone attack steps are 1.4 to 1.8 times as fast with oneDNN, training steps 1.2 to 1.4 times.
    """
    if platform.machine() in _X86 and "tensorflow" not in sys.modules:
        os.environ.setdefault(_VARIABLE, "1")


def onednn() -> str:
    """Return "on", "off", or "unset" where TensorFlow decides; results differ in their last digits."""
    value = os.environ.get(_VARIABLE)
    if value is None:
        return "unset"
    return "off" if value.strip().lower() in {"0", "false"} else "on"
