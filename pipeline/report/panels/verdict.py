"""Verdict of the gate, its thresholds and the key figures."""

from __future__ import annotations

from dermrobust.pipeline.report.panel import ReportPanel

PANEL = ReportPanel("Verdict", "verdict.html")
