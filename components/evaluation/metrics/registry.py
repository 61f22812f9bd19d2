"""Registry of metrics, in the order in which tables show them."""

from __future__ import annotations

from dermrobust.attacks.plugins import Registry

_HERE = "dermrobust.components.evaluation.metrics"

METRICS = Registry(
    "metric",
    {
        "accuracy": f"{_HERE}.accuracy:METRIC",
        "balanced_accuracy": f"{_HERE}.balanced_accuracy:METRIC",
        "macro_auc": f"{_HERE}.macro_auc:METRIC",
        "attack_success_rate": f"{_HERE}.attack_success_rate:METRIC",
        "median_robust_radius": f"{_HERE}.median_robust_radius:METRIC",
        "mean_certified_radius": f"{_HERE}.certified_radius:MEAN",
        "median_certified_radius": f"{_HERE}.certified_radius:MEDIAN",
        "abstention_rate": f"{_HERE}.abstention_rate:METRIC",
        "coverage": f"{_HERE}.referral:COVERAGE",
        "unreferred_errors": f"{_HERE}.referral:LOST",
        "unreferred_missed": f"{_HERE}.referral:MISSED",
        "critical_sensitivity": f"{_HERE}.critical_sensitivity:METRIC",
        "missed_malignant": f"{_HERE}.missed_malignant:METRIC",
        "malignant_to_benign": f"{_HERE}.malignancy_flips:MISSED",
        "benign_to_malignant": f"{_HERE}.malignancy_flips:ALARMED",
        "ece": f"{_HERE}.ece:METRIC",
    },
)
