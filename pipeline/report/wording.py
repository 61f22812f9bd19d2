"""Text of numbers, names and budgets, in one place for page, card and terminal."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dermrobust.attacks.threat import Norm
from dermrobust.components.evaluation.conditions import (
    CERTIFIED,
    SMOOTHED,
    family_of,
    is_of_referral,
    is_of_smoothing,
    rate_of,
    search_of,
)
from dermrobust.components.evaluation.metrics.registry import METRICS
from dermrobust.components.evaluation.names import BEFORE_ESCALATION, CLEAN, WORST_CASE
from dermrobust.components.evaluation.rows import Figure
from dermrobust.models.task import Task


@dataclass(frozen=True)
class ShownMetric:
    """A metric for readers: its name, its name within a class, its meaning and its direction."""

    label: str
    class_label: str
    meaning: str
    more_is_better: bool = True

    @property
    def direction(self) -> str:
        """Direction in words."""
        return "more is better" if self.more_is_better else "less is better"


def metric(name: str, task: Task | None = None) -> ShownMetric:
    """Return a metric for readers; one that is not registered here is shown by its name."""
    if name not in METRICS.names:
        label = name.replace("_", " ").capitalize()
        return ShownMetric(label, label, "")
    found = METRICS.resolve(name)
    label = found.label(task)
    return ShownMetric(label, found.class_title or label, found.meaning, found.higher_is_better)


def metrics_for(place: str, measured: Container[str]) -> list[str]:
    """Return the names of measured metrics that a panel or table shows; see `Metric.places`."""
    return [metric.name for metric in METRICS.resolve_all() if place in metric.places and metric.name in measured]


def condition(name: str) -> str:
    """Return the name of an attack as a reader knows it; under a threat model beyond a norm with its family."""
    if is_of_smoothing(name):
        kind = {CERTIFIED: "Certified", SMOOTHED: "Smoothed classifier under attack"}[family_of(name) or ""]
        return f"{kind}, σ {search_of(name)}"
    if is_of_referral(name):
        return f"Referral rate {rate_of(name)}, {condition(search_of(name)).lower()}"
    if (family := family_of(name)) is not None:
        return f"{family.capitalize()}, {condition(search_of(name)).lower()}"
    return {CLEAN: "Clean", WORST_CASE: "Worst case", BEFORE_ESCALATION: "Before escalation"}.get(name, name)


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
    """Return a budget (in 1/255) as papers write it: 4/255 for L-infinity, a length such as 0.5 for L2 and 12 for L1.

    Of L0 it is the number of pixels.
    """
    if not epsilon:
        return "0"
    if norm in (Norm.L2, Norm.L1):
        return f"{norm.upper()} {epsilon / 255:.3g}"
    return f"L0 {epsilon:g}" if norm == Norm.L0 else f"{epsilon:g}/255"


def budget_under(attack: str, epsilon: float, norm: str | None) -> str:
    """Return a budget under the norm, or the strength of a threat model beyond it."""
    if is_of_smoothing(attack):
        return budget(epsilon, "l2")
    if is_of_referral(attack):
        return budget(epsilon, norm)
    return budget(epsilon, norm) if family_of(attack) is None else f"strength {epsilon:g}"


def probability(value: float | None) -> str:
    """Return a p-value."""
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def under(attack: str, epsilon: float, norm: str | None) -> str:
    """Return under which attack something was measured: "pgd, ε 4/255"."""
    if is_of_referral(attack) and search_of(attack) == CLEAN:
        return condition(attack)
    if family_of(attack) is not None:
        return f"{condition(attack)}, {budget_under(attack, epsilon, norm)}"
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
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return f"({flat(value)})"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_flat_value(each) for each in value)}]"
    return str(value)


def listed(names: Sequence[str]) -> str:
    """Return names as one phrase: "fgsm, pgd and mixed"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def duration(seconds: float) -> str:
    """Return a duration for readers, at least one second: "45 s", "12 min", "3 h 20 min"."""
    if seconds < 120:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
