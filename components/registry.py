"""Registry of artifact types."""

from __future__ import annotations

import enum


class ArtifactType(enum.StrEnum):
    """Types of artifacts that components hand to each other; adding one is its line here."""

    DATASET = "dataset"
    STATISTICS = "statistics"
    QUARANTINE = "quarantine"
    EXAMPLES = "examples"
    MODEL = "model"
    ADVERSARIAL_EXAMPLES = "adversarial_examples"
    PREDICTIONS = "predictions"
    CERTIFICATES = "certificates"
    REFERRALS = "referrals"
    PROBES = "probes"
    LEAKAGE = "leakage"
    EVALUATION = "evaluation"
    BLESSING = "blessing"
    EXPORTED_MODEL = "exported_model"
