"""Space for a reviewer's signature."""

from __future__ import annotations

from dermrobust.pipeline.report.panel import ReportPanel

PANEL = ReportPanel("Review", "signed.html")
