"""Panels whose templates need the evaluation and its lineage alone."""

from __future__ import annotations

from dermrobust.pipeline.report.panel import ReportPanel

VERDICT = ReportPanel("Verdict", "verdict.html")
COMPARED = ReportPanel("Comparison with the baseline", "compared.html")
LINEAGE = ReportPanel("Lineage", "lineage.html")
SIGNED = ReportPanel("Review", "signed.html")
