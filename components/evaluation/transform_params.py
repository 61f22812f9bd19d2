"""Parameters of the evaluation of threat models beyond a norm.

Apart from those of attacks under a norm, so that a change here does not change the fingerprint of their artifacts.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from dermrobust.attacks.transforms.registry import TRANSFORMS
from dermrobust.attacks.transforms.selection import NamedSearches, default_searches
from dermrobust.attacks.transforms.threat import AnyTransformThreat, TransformThreat, is_transform
from dermrobust.components.component import Params
from dermrobust.components.evaluation.names import CLEAN, WORST_CASE, canonical_epsilon
from dermrobust.components.slices.registry import SLICES


def _distinct(threats: tuple[TransformThreat, ...]) -> tuple[TransformThreat, ...]:
    places = [(threat.family, canonical_epsilon(threat.strength)) for threat in threats]
    for threat, place in zip(threats, places, strict=True):
        if places.count(place) > 1:
            raise ValueError(f"'{threat}' stands in the list twice")
    return threats


def _not_reserved(names: NamedSearches) -> NamedSearches:
    for reserved in (CLEAN, WORST_CASE):
        if reserved in names:
            raise ValueError(f"'{reserved}' is a reserved name; choose another")
    return names


TransformThreats = Annotated[tuple[AnyTransformThreat, ...], AfterValidator(_distinct)]


class TransformSettings(Params):
    """Threat models beyond a norm, and the searches that evaluate them."""

    threats: TransformThreats = Field(
        (),
        description='Threat models beyond a norm, each with its strength: "colour:1", "geometry:0.5", '
        '"colour+geometry:1", "patch:0.05"; empty: none.',
    )
    searches: Annotated[NamedSearches, AfterValidator(_not_reserved)] = Field(
        default_factory=default_searches,
        description="Searches under these threat models by the name that they have in results: adaptive, and as "
        "controls random and grid.",
    )

    @model_validator(mode="before")
    @classmethod
    def _not_among_budgets(cls, values: Any) -> Any:
        budgets = values.get("epsilons") if isinstance(values, dict) else None
        for budget in budgets if isinstance(budgets, list | tuple) else ():
            if is_transform(budget):
                raise ValueError(f"epsilons: '{budget}' is a threat model beyond a norm; name it in threats")
        return values

    def plugins(self) -> frozenset[str]:
        """Return the modules of the selected searches and transformations."""
        families = {name for threat in self.threats for name in threat.family.split("+")}
        return super().plugins() | {TRANSFORMS.module(name) for name in families}


class TransformParams(TransformSettings):
    """Parameters of the searches on one model.

    Searches follow the gradients of the exact model, in float32: a false success of an approximation would end the
    search of an image.
    """

    batch_size: int = Field(128, ge=1, le=4096, description="Images per forward pass or gradient step.")
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of random starts.")
    stop_at_success: bool = Field(True, description="Stop at the first misclassification of an image.")
    slices: Annotated[tuple[str, ...], AfterValidator(lambda names: tuple(map(SLICES.check, names)))] = Field(
        (), description="Slice features that are derived from the pixels."
    )

    def plugins(self) -> frozenset[str]:
        """See `Params.plugins`."""
        return super().plugins() | {SLICES.module(name) for name in self.slices}
