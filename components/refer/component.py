"""Refer: a rejector of images of low confidence, fitted to validation images, and attacks that know of it."""

from __future__ import annotations

from dermrobust.components.artifacts import ArtifactType
from dermrobust.components.component import Component
from dermrobust.components.evaluation.referral_params import ReferParams

REFER = Component(
    name="refer",
    params=ReferParams,
    inputs={
        "examples": ArtifactType.EXAMPLES,
        "model": ArtifactType.MODEL,
        "predictions": ArtifactType.PREDICTIONS,
        "probes": ArtifactType.PROBES,
        "escalated": ArtifactType.PROBES,
    },
    outputs={"referrals": ArtifactType.REFERRALS},
    executor="dermrobust.components.refer.executor:run",
    libraries=("tensorflow", "keras", "cleverhans", "pyarrow", "scipy"),
    resumable=True,
)
