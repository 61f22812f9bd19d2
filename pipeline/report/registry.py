"""Registry of the report's panels, in the order of the page."""

from __future__ import annotations

from dermrobust.attacks.plugins import Registry

_HERE = "dermrobust.pipeline.report.panels"

PANELS = Registry(
    "panel",
    {
        "verdict": f"{_HERE}.templates_only:VERDICT",
        "attacks": f"{_HERE}.attacks:PANEL",
        "classes": f"{_HERE}.classes:PANEL",
        "curve": f"{_HERE}.curve:PANEL",
        "transforms": f"{_HERE}.transforms:PANEL",
        "radii": f"{_HERE}.radii:PANEL",
        "certificates": f"{_HERE}.certificates:PANEL",
        "referral": f"{_HERE}.referral:PANEL",
        "flips": f"{_HERE}.flips:PANEL",
        "groups": f"{_HERE}.groups:PANEL",
        "clinical": f"{_HERE}.clinical:PANEL",
        "compared": f"{_HERE}.templates_only:COMPARED",
        "corrupted": f"{_HERE}.corrupted:PANEL",
        "checks": f"{_HERE}.checks:PANEL",
        "lineage": f"{_HERE}.templates_only:LINEAGE",
        "signed": f"{_HERE}.templates_only:SIGNED",
    },
)
