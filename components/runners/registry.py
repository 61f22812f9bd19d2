"""Registry of Beam runners. Adding one is its file and its line here."""

from dermrobust.attacks.plugins import Registry

RUNNERS = Registry(
    "Beam runner",
    {
        "DirectRunner": "dermrobust.components.runners.in_process:create",
        "PySparkRunner": "dermrobust.components.runners.spark.runner:create",
    },
)
"""Functions that return a Beam runner, by its name; Beam itself creates runners of other names.

They take Beam's options, and the folder or URI that all machines share or None.
"""

REFUSED_RUNNERS = {
    "DaskRunner": "it loses data silently (Beam 2.77: only the last branch of a pipeline runs)",
}
"""Reason of refusal, by the name of the runner."""
