"""Evaluate: every model under no attack and under attacks through its own gradients; then metrics and the gate."""

from __future__ import annotations

from dermrobust.components.artifacts import ArtifactType
from dermrobust.components.component import Component
from dermrobust.components.evaluate.params import EvaluateParams, PredictParams, ProbeParams

PREDICT = Component(
    name="predict",
    params=PredictParams,
    inputs={"examples": ArtifactType.EXAMPLES, "model": ArtifactType.MODEL, "surrogates": ArtifactType.MODEL},
    outputs={"predictions": ArtifactType.PREDICTIONS},
    executor="dermrobust.components.evaluate.predict:run",
    libraries=("tensorflow", "keras", "cleverhans", "pyarrow"),
)

PROBE = Component(
    name="probe",
    params=ProbeParams,
    inputs={
        "examples": ArtifactType.EXAMPLES,
        "model": ArtifactType.MODEL,
        "surrogates": ArtifactType.MODEL,
        "predictions": ArtifactType.PREDICTIONS,
    },
    outputs={"probes": ArtifactType.PROBES},
    executor="dermrobust.components.evaluate.probe:run",
    libraries=("tensorflow", "keras", "cleverhans", "pyarrow", "pillow"),
)

EVALUATE = Component(
    name="evaluate",
    params=EvaluateParams,
    inputs={
        "examples": ArtifactType.EXAMPLES,
        "predictions": ArtifactType.PREDICTIONS,
        "probes": ArtifactType.PROBES,
    },
    outputs={"evaluation": ArtifactType.EVALUATION, "blessing": ArtifactType.BLESSING},
    executor="dermrobust.components.evaluate.executor:run",
    libraries=("tensorflow-model-analysis", "tfx-bsl", "pyarrow", "apache-beam", "scipy"),
)
