"""Self-checks of the evaluation, those that failed first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dermrobust.components.evaluation.checks import Check, Status
from dermrobust.components.evaluation.reading import Evaluation
from dermrobust.pipeline.report.lineage import Lineage
from dermrobust.pipeline.report.panel import ReportPanel

_ORDER = {"fail": 0, "warn": 1, "pass": 2}


def ordered(checks: tuple[Check, ...] | None) -> tuple[Check, ...]:
    """Return checks with those that failed first."""
    return tuple(sorted(checks or (), key=lambda check: (_ORDER[check.status], check.name, check.model or "")))


def _values(evaluation: Evaluation, lineage: Lineage) -> Mapping[str, Any]:
    checks = ordered(evaluation.checks)
    passed = tuple(check for check in checks if check.status is Status.PASS)
    return {"checks": checks, "passed": passed, "open": checks[: len(checks) - len(passed)]}


PANEL = ReportPanel("Checks of this evaluation", "checks.html", _values)
