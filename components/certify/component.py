"""Certify: certificates of the predictions of a smoothed model on test images, by randomized smoothing."""

from __future__ import annotations

from dermrobust.components.artifacts import ArtifactType
from dermrobust.components.component import Component
from dermrobust.components.evaluation.certificate_params import CertifyParams

CERTIFY = Component(
    name="certify",
    params=CertifyParams,
    inputs={"examples": ArtifactType.EXAMPLES, "model": ArtifactType.MODEL},
    outputs={"certificates": ArtifactType.CERTIFICATES},
    executor="dermrobust.components.certify.executor:run",
    libraries=("tensorflow", "keras", "pyarrow", "scipy"),
    resumable=True,
)
