"""Probe: stronger attacks, diagnostics of the network and natural corruptions, for the self-checks of an evaluation."""

from __future__ import annotations

from dermrobust.components.artifacts import ArtifactType
from dermrobust.components.component import Component
from dermrobust.components.evaluation.params import ProbeParams

PROBE = Component(
    name="probe",
    params=ProbeParams,
    inputs={
        "examples": ArtifactType.EXAMPLES,
        "model": ArtifactType.MODEL,
        "surrogates": ArtifactType.MODEL,
        "transferred": ArtifactType.ADVERSARIAL_EXAMPLES,
        "predictions": ArtifactType.PREDICTIONS,
    },
    outputs={"probes": ArtifactType.PROBES},
    executor="dermrobust.components.probe.executor:run",
    libraries=("tensorflow", "keras", "cleverhans", "pyarrow", "pillow"),
    resumable=True,
    concurrent=True,
)
