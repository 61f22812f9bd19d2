"""Registry of gate rules. `thresholds` and `checks` always apply; `Gate.rules` lists further ones."""

from __future__ import annotations

from dermrobust.attacks.plugins import Registry

ALWAYS = ("thresholds", "checks")

RULES = Registry(
    "gate rule",
    {
        "thresholds": "dermrobust.components.gate.rules.thresholds:judge",
        "checks": "dermrobust.components.gate.rules.checks:judge",
    },
)
