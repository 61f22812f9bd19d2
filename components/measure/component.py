"""Measure: metrics by slice, comparisons and self-checks, from the predictions of all models."""

from __future__ import annotations

from dermrobust.components.artifacts import ArtifactType
from dermrobust.components.component import Component
from dermrobust.components.evaluation.measure_params import MeasureParams

EVALUATE = Component(
    name="evaluate",
    params=MeasureParams,
    inputs={
        "examples": ArtifactType.EXAMPLES,
        "predictions": ArtifactType.PREDICTIONS,
        "probes": ArtifactType.PROBES,
        "escalated": ArtifactType.PROBES,
        "transformed": ArtifactType.PREDICTIONS,
        "certificates": ArtifactType.CERTIFICATES,
        "referrals": ArtifactType.REFERRALS,
        "leakage": ArtifactType.LEAKAGE,
    },
    outputs={"evaluation": ArtifactType.EVALUATION},
    executor="dermrobust.components.measure.executor:run",
    libraries=("tensorflow-model-analysis", "tfx-bsl", "pyarrow", "apache-beam", "scipy"),
)
