"""Parameters of the measurement of all models."""

from __future__ import annotations

from pydantic import Field

from dermrobust.components.evaluation.certificate_params import CertificateSettings
from dermrobust.components.evaluation.params import EvaluateParams
from dermrobust.components.evaluation.referral_params import ReferralSettings
from dermrobust.components.evaluation.transform_params import TransformSettings


class MeasureParams(EvaluateParams, TransformSettings):
    """Parameters of the measurement of all models: under the norm, beyond it, of certificates and of referrals."""

    certificates: CertificateSettings = Field(
        default_factory=CertificateSettings, description="Certificates by randomized smoothing."
    )
    referral: ReferralSettings = Field(default_factory=ReferralSettings, description="Selective prediction.")
