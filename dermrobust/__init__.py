"""Robustness evaluation and hardening of medical image classifiers.

The names below are imported when they are first used, so that importing this package is quick; see docs/api.md.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from dermrobust.attacks.kernels import prefer_onednn
from dermrobust.version import __version__

if TYPE_CHECKING:
    from dermrobust.attacks.errors import UserError
    from dermrobust.attacks.threat import ThreatModel
    from dermrobust.pipeline.api.attacking import Result, attack, threat_model
    from dermrobust.pipeline.api.auditing import audit
    from dermrobust.pipeline.api.certifying import Certified, certify
    from dermrobust.pipeline.api.evaluation import Evaluation, load_evaluation
    from dermrobust.pipeline.api.running import run
    from dermrobust.pipeline.api.sweeping import sweep
    from dermrobust.pipeline.api.zoo import load_model

# Before anything imports TensorFlow, in workers too: they import this package first.
prefer_onednn()

__all__ = [
    "Certified",
    "Evaluation",
    "Result",
    "ThreatModel",
    "UserError",
    "__version__",
    "attack",
    "audit",
    "certify",
    "load_evaluation",
    "load_model",
    "run",
    "sweep",
    "threat_model",
]

_PLACES = {
    "Certified": "dermrobust.pipeline.api.certifying",
    "Evaluation": "dermrobust.pipeline.api.evaluation",
    "Result": "dermrobust.pipeline.api.attacking",
    "ThreatModel": "dermrobust.attacks.threat",
    "UserError": "dermrobust.attacks.errors",
    "attack": "dermrobust.pipeline.api.attacking",
    "audit": "dermrobust.pipeline.api.auditing",
    "certify": "dermrobust.pipeline.api.certifying",
    "load_evaluation": "dermrobust.pipeline.api.evaluation",
    "load_model": "dermrobust.pipeline.api.zoo",
    "run": "dermrobust.pipeline.api.running",
    "sweep": "dermrobust.pipeline.api.sweeping",
    "threat_model": "dermrobust.pipeline.api.attacking",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used (PEP 562)."""
    if name not in _PLACES:
        raise AttributeError(f"module 'dermrobust' has no attribute '{name}'")
    value = getattr(importlib.import_module(_PLACES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, also those not imported yet."""
    return sorted(__all__)
