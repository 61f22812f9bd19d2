"""Registries of networks and of training objectives."""

from dermrobust.attacks.plugins import Registry

NETWORKS = Registry(
    "network",
    {
        "cnn": "dermrobust.models.networks.cnn:CNN",
        "small_resnet": "dermrobust.models.networks.small_resnet:SmallResNet",
        "resnet": "dermrobust.models.networks.resnet:ResNet",
        "thin_resnet50": "dermrobust.models.networks.thin_resnet50:ThinResNet50",
        "efficientnet_lite": "dermrobust.models.networks.efficientnet_lite:EfficientNetLite",
        "keras_application": "dermrobust.models.networks.keras_application:KerasApplication",
        "keras_file": "dermrobust.models.networks.keras_file:KerasFile",
    },
)
"""Subclasses of `dermrobust.models.networks.network.Network`."""

OBJECTIVES = Registry(
    "objective",
    {
        "cross_entropy": "dermrobust.models.objectives.cross_entropy:CrossEntropy",
        "fast": "dermrobust.models.objectives.fast:Fast",
        "pgd": "dermrobust.models.objectives.pgd:PGDTraining",
        "n_fgsm": "dermrobust.models.objectives.n_fgsm:NFGSM",
        "mixed": "dermrobust.models.objectives.mixed:Mixed",
        "trades": "dermrobust.models.objectives.trades:Trades",
        "mart": "dermrobust.models.objectives.mart:Mart",
        "gaussian_noise": "dermrobust.models.objectives.gaussian_noise:GaussianNoise",
    },
)
"""Subclasses of `dermrobust.models.objectives.objective.Objective`."""
