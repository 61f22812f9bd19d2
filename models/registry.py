"""Registries of networks and of training objectives."""

from dermrobust.attacks.plugins import Registry

NETWORKS = Registry(
    "network",
    {
        "small_resnet": "dermrobust.models.networks.small_resnet:small_resnet",
        "resnet": "dermrobust.models.networks.resnet:resnet",
    },
)
"""Functions of type `dermrobust.models.networks.network.NetworkFn`."""

OBJECTIVES = Registry(
    "objective",
    {
        "cross_entropy": "dermrobust.models.objectives.cross_entropy:CrossEntropy",
        "fast": "dermrobust.models.objectives.fast:Fast",
        "pgd": "dermrobust.models.objectives.pgd:PGDTraining",
        "mixed": "dermrobust.models.objectives.mixed:Mixed",
        "trades": "dermrobust.models.objectives.trades:Trades",
        "mart": "dermrobust.models.objectives.mart:Mart",
    },
)
"""Subclasses of `dermrobust.models.objectives.objective.Objective`."""
