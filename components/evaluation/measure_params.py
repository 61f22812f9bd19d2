"""Parameters of the measurement of all models."""

from __future__ import annotations

from pydantic import Field

from dermrobust.components.evaluation.certificate_params import CertificateSettings
from dermrobust.components.evaluation.params import EvaluateParams
from dermrobust.components.evaluation.transform_params import TransformSettings


class MeasureParams(EvaluateParams, TransformSettings):
    """Parameters of the measurement of all models: under the norm, beyond it, and of certificates."""

    certificates: CertificateSettings = Field(
        default_factory=CertificateSettings, description="Certificates by randomized smoothing."
    )
