"""Network as a config selects it."""

from typing import Annotated

from dermrobust.attacks.plugins import Selected
from dermrobust.models.networks.network import Network
from dermrobust.models.registry import NETWORKS

AnyNetwork = Annotated[Network, Selected(NETWORKS, "network")]
"""Network given by its name, "resnet", or by its name and parameters, {"network": "thin_resnet50", "dropout": 0.3}."""
