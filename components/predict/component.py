"""Predict: predictions of a model on clean test images and on images attacked through its own gradients."""

from __future__ import annotations

from dermrobust.components.artifacts import ArtifactType
from dermrobust.components.component import Component
from dermrobust.components.evaluation.params import PredictParams

PREDICT = Component(
    name="predict",
    params=PredictParams,
    inputs={
        "examples": ArtifactType.EXAMPLES,
        "model": ArtifactType.MODEL,
        "surrogates": ArtifactType.MODEL,
        "transferred": ArtifactType.ADVERSARIAL_EXAMPLES,
    },
    outputs={"predictions": ArtifactType.PREDICTIONS},
    executor="dermrobust.components.predict.executor:run",
    libraries=("tensorflow", "keras", "cleverhans", "pyarrow"),
    resumable=True,
    concurrent=True,
)
