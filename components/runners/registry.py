"""Registry of Beam runners. Adding one is its file and its line here."""

from dermrobust.attacks.plugins import Registry

RUNNERS = Registry(
    "Beam runner",
    {
        "DirectRunner": "dermrobust.components.runners.in_process:create",
    },
)
"""Functions without arguments that return a Beam runner, by its name; Beam itself creates runners of other names."""

REFUSED_RUNNERS = {
    "DaskRunner": "it loses data silently (Beam 2.77: only the last branch of a pipeline runs)",
}
"""Reason of refusal, by the name of the runner."""
