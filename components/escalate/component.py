"""Escalate: attacks through masked gradients, on models that fail a self-check for them."""

from __future__ import annotations

from dermrobust.components.artifacts import ArtifactType
from dermrobust.components.component import Component
from dermrobust.components.evaluation.escalation_params import EscalateParams

ESCALATE = Component(
    name="escalate",
    params=EscalateParams,
    inputs={
        "examples": ArtifactType.EXAMPLES,
        "model": ArtifactType.MODEL,
        "predictions": ArtifactType.PREDICTIONS,
        "probes": ArtifactType.PROBES,
    },
    outputs={"escalated": ArtifactType.PROBES},
    executor="dermrobust.components.escalate.executor:run",
    libraries=("tensorflow", "keras", "cleverhans", "pyarrow", "pillow"),
    resumable=True,
)
