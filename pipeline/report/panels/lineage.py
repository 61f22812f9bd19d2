"""Data, attacks, nodes, artifacts and commands behind the figures."""

from __future__ import annotations

from dermrobust.pipeline.report.panel import ReportPanel

PANEL = ReportPanel("Lineage", "lineage.html")
