"""Paired differences from the baseline."""

from __future__ import annotations

from dermrobust.pipeline.report.panel import ReportPanel

PANEL = ReportPanel("Comparison with the baseline", "compared.html")
