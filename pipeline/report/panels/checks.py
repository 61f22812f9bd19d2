"""Self-checks of the evaluation, those that failed first."""

from __future__ import annotations

from dermrobust.components.evaluation.checks import Check
from dermrobust.pipeline.report.panel import ReportPanel

_ORDER = {"fail": 0, "warn": 1, "pass": 2}


def ordered(checks: tuple[Check, ...] | None) -> tuple[Check, ...]:
    """Return checks with those that failed first."""
    return tuple(sorted(checks or (), key=lambda check: (_ORDER[check.status], check.name, check.model or "")))


PANEL = ReportPanel(
    "Checks of this evaluation", "checks.html", lambda evaluation, _: {"checks": ordered(evaluation.checks)}
)
