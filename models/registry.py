"""Networks and objectives by the name that a config gives; adding one is its file and its line here.

A config is checked without TensorFlow: networks are named as text, and objectives import it only when they work.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Annotated, Any, get_args

from pydantic import BeforeValidator, Discriminator, Field

from dermrobust.models.objectives.cross_entropy import CrossEntropy
from dermrobust.models.objectives.fast import Fast
from dermrobust.models.objectives.mart import Mart
from dermrobust.models.objectives.mixed import Mixed
from dermrobust.models.objectives.objective import Objective
from dermrobust.models.objectives.pgd import PGDTraining
from dermrobust.models.objectives.trades import Trades

NETWORKS: Mapping[str, str] = {
    "small_resnet": "dermrobust.models.networks:small_resnet",
    "resnet": "dermrobust.models.networks:resnet",
}
"""`module:function` of type `dermrobust.models.networks.NetworkFn`."""

_Objective = CrossEntropy | Fast | PGDTraining | Mixed | Trades | Mart
OBJECTIVES: tuple[str, ...] = tuple(member.model_fields["objective"].default for member in get_args(_Objective))
"""The names of all objectives."""


def checked_name(name: str, registry: Mapping[str, str], kind: str) -> str:
    """Return a name that a registry knows.

    Raises:
        ValueError: it does not; the message lists what it knows.
    """
    if name not in registry:
        raise ValueError(f"there is no {kind} '{name}'; there are: {', '.join(sorted(registry))}")
    return name


def resolve(name: str, registry: Mapping[str, str]) -> Any:
    """Return what a name stands for."""
    module, attribute = registry[name].split(":")
    return getattr(importlib.import_module(module), attribute)


def _with_parameters(value: Any) -> Any:
    """Return "trades" as {"objective": "trades"}, and refuse what is no objective's name."""
    if isinstance(value, str):
        value = {"objective": value}
    if not isinstance(value, Mapping | Objective):
        raise ValueError(f"an objective is a name, or a mapping of its name and parameters; found {value!r}")
    if isinstance(value, Mapping):
        name = value.get("objective")
        if name is None:
            raise ValueError(f"the key 'objective' must name one; there are: {', '.join(OBJECTIVES)}")
        if name not in OBJECTIVES:
            raise ValueError(f"there is no objective '{name}'; there are: {', '.join(OBJECTIVES)}")
    return value


AnyObjective = Annotated[
    _Objective,
    Discriminator("objective"),
    BeforeValidator(
        _with_parameters,
        json_schema_input_type=Annotated[str, Field(json_schema_extra={"enum": [*OBJECTIVES]})]
        | Annotated[_Objective, Discriminator("objective")],
    ),
]
"""A config gives an objective by its name, or as a mapping of its name and parameters."""
