"""Objective as a config selects it."""

from typing import Annotated

from dermrobust.attacks.plugins import Selected
from dermrobust.models.objectives.objective import Objective
from dermrobust.models.registry import OBJECTIVES

AnyObjective = Annotated[Objective, Selected(OBJECTIVES, "objective")]
"""Objective given by its name, "trades", or by its name and parameters, {"objective": "trades", "beta": 3}."""
