"""Parameters of selective prediction.

Apart from those of attacks, so that a change here does not change the fingerprint of their artifacts.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from dermrobust.attacks.selective.evading import Evading
from dermrobust.attacks.threat import ThreatModel
from dermrobust.components.component import Params
from dermrobust.components.evaluation.params import Threats
from dermrobust.components.slices.registry import SLICES


def _ascending(rates: tuple[float, ...]) -> tuple[float, ...]:
    # By the digits that names of conditions have.
    if len({f"{rate:g}" for rate in rates}) < len(rates):
        raise ValueError("a rate stands in the list twice")
    return tuple(sorted(rates))


ReferralRate = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]


class ReferralSettings(Params):
    """Selective prediction: images of low confidence are referred to a doctor (Geifman & El-Yaniv 2017)."""

    rates: Annotated[tuple[ReferralRate, ...], AfterValidator(_ascending)] = Field(
        (),
        description="Shares of the validation images that are referred, each of them a threshold on the confidence; "
        "empty: nothing is referred.",
    )
    images: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="Test images that are measured and attacked, evenly spaced in the order of the split; null: all.",
    )
    attack: Evading = Field(
        default_factory=lambda: Evading(steps=20), description="Parameters of the attack that knows of the rejector."
    )


class ReferParams(ReferralSettings):
    """Parameters of the referrals of one model."""

    epsilons: Threats = Field(
        tuple(ThreatModel(epsilon) for epsilon in (1, 2, 4, 8)),
        min_length=1,
        description="Budgets of the attack that knows of the rejector: those of the evaluation.",
    )
    batch_size: int = Field(128, ge=1, le=4096, description="Images per forward pass or gradient step.")
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of random starts.")
    malignant: tuple[str, ...] | None = Field(
        None, description="Classes that must not be taken for benign ones; null: those of the task."
    )
    slices: Annotated[tuple[str, ...], AfterValidator(lambda names: tuple(map(SLICES.check, names)))] = Field(
        (), description="Slice features that are derived from the pixels."
    )

    def plugins(self) -> frozenset[str]:
        """See `Params.plugins`."""
        return super().plugins() | {SLICES.module(name) for name in self.slices}
