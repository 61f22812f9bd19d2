"""How numbers, names and budgets are written, in one place for page, card and terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dermrobust.pipeline.report.evaluation import CLEAN, WORST_CASE, Figure


@dataclass(frozen=True)
class Metric:
    """How a metric is shown: its name, what it says, and whether more of it is better."""

    label: str
    meaning: str
    more_is_better: bool = True


METRICS: dict[str, Metric] = {
    "accuracy": Metric("Accuracy", "share of images whose class is right"),
    "balanced_accuracy": Metric("Balanced accuracy", "mean of the recalls of all lesion classes"),
    "macro_auc": Metric("Macro AUC", "area under the ROC curve, one class against the others, mean over classes"),
    "attack_success_rate": Metric(
        "Attack success", "share of images classified rightly when clean whose class the attack changes", False
    ),
    "melanoma_sensitivity": Metric(
        "Melanoma sensitivity", "share of melanomas found when the threshold gives the stated specificity"
    ),
    "malignant_to_benign": Metric(
        "Malignant to benign", "share of malignant lesions, found when clean, that are called benign", False
    ),
    "benign_to_malignant": Metric(
        "Benign to malignant", "share of benign lesions, recognised when clean, that are called malignant", False
    ),
    "ece": Metric("Calibration error", "expected difference between confidence and accuracy (ECE)", False),
}

_LESIONS = {
    "akiec": "actinic keratosis / intraepithelial carcinoma",
    "bcc": "basal cell carcinoma",
    "bkl": "benign keratosis",
    "df": "dermatofibroma",
    "mel": "melanoma",
    "nv": "melanocytic nevus",
    "vasc": "vascular lesion",
}
_FEATURES = {
    "dx": "Lesion class",
    "sex": "Sex",
    "age_group": "Age group",
    "localization": "Localization",
    "skin_tone": "Skin tone",
}


def metric(name: str) -> Metric:
    """Return how a metric is shown; one that is not known here is shown by its name."""
    return METRICS.get(name) or Metric(name.replace("_", " ").capitalize(), "")


def condition(name: str) -> str:
    """Return the name of an attack as a reader knows it."""
    return {CLEAN: "Clean", WORST_CASE: "Worst case"}.get(name, name)


def lesion(name: str) -> str:
    """Return what the code of a lesion class stands for, or nothing."""
    return _LESIONS.get(name, "")


def feature(name: str) -> str:
    """Return the name of a feature that slices go by."""
    return _FEATURES.get(name) or name.replace("_", " ").capitalize()


def number(value: float | None, digits: int = 3) -> str:
    """Return a number, or a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def signed(value: float | None) -> str:
    """Return a difference with its sign."""
    return "–" if value is None else f"{value:+.3f}".replace("-", "−")


def count(value: int | None) -> str:
    """Return a count with thousands set apart."""
    return "–" if value is None else f"{value:,}"


def interval(figure: Figure | Any) -> str:
    """Return a 95 % interval in short, or nothing where there is none."""
    if figure is None or figure.lower is None or figure.upper is None:
        return ""
    return f"{number(figure.lower)} to {number(figure.upper)}"


def budget(epsilon: float, norm: str | None) -> str:
    """Return a budget (in 1/255) as papers write it: 4/255 for L-infinity, a length such as 0.5 for L2."""
    if not epsilon:
        return "0"
    return f"L2 {epsilon / 255:.3g}" if norm == "l2" else f"{epsilon:g}/255"


def probability(value: float | None) -> str:
    """Return a p-value."""
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def under(attack: str, epsilon: float, norm: str | None) -> str:
    """Return under which attack something was measured: "pgd, ε 4/255"."""
    return "clean" if attack == CLEAN else f"{condition(attack)}, ε {budget(epsilon, norm)}"


def asked(threshold: Any) -> str:
    """Return what a threshold asks for: "≥ 0.5"."""
    bounds = (
        (threshold.min, "≥ {:g}"),
        (threshold.max, "≤ {:g}"),
        (threshold.min_change, "change ≥ {:+g}"),
        (threshold.max_change, "change ≤ {:+g}"),
    )
    return " and ".join(text.format(bound).replace("-", "−") for bound, text in bounds if bound is not None)


def flat(parameters: Mapping[str, Any]) -> str:
    """Return parameters as one line: "steps 20, random_start true"."""
    return ", ".join(f"{name} {_flat_value(value)}" for name, value in parameters.items()) or "none"


def _flat_value(value: Any) -> str:
    if value is None:
        return "default"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return f"({flat(value)})"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_flat_value(each) for each in value)}]"
    return str(value)
