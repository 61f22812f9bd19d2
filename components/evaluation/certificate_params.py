"""Parameters of certificates by randomized smoothing.

Apart from those of attacks, so that a change here does not change the fingerprint of their artifacts.
"""

from __future__ import annotations

import math
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from dermrobust.attacks.cleverhans.pgd import PGD
from dermrobust.attacks.errors import UserError
from dermrobust.attacks.selection import AnyAttack
from dermrobust.attacks.threat import Norm, ThreatModel
from dermrobust.components.budgets import StorableThreat
from dermrobust.components.component import Params
from dermrobust.components.slices.registry import SLICES


def _distinct(sigmas: tuple[float, ...]) -> tuple[float, ...]:
    # By the digits that names of conditions have.
    if len({f"{sigma:g}" for sigma in sigmas}) < len(sigmas):
        raise ValueError("a sigma stands in the list twice")
    return sigmas


def _ascending_lengths(radii: tuple[ThreatModel, ...]) -> tuple[ThreatModel, ...]:
    for threat in radii:
        if threat.norm is not Norm.L2:
            raise ValueError(f"{threat} is no length; certificates are in L2, such as 'l2:0.5'")
    if len(set(radii)) < len(radii):
        raise ValueError("a radius stands in the list twice")
    return tuple(sorted(radii, key=lambda threat: threat.epsilon))


Sigma = Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)]
Radii = Annotated[tuple[StorableThreat, ...], AfterValidator(_ascending_lengths)]


class CertificateSettings(Params):
    """Certificates by randomized smoothing (Cohen et al. 2019, arXiv 1902.02918), and attacks on what they are of."""

    sigmas: Annotated[tuple[Sigma, ...], AfterValidator(_distinct)] = Field(
        (),
        description="Standard deviations of the noise, where a pixel is 0 to 1, each of them a smoothed classifier; "
        "empty: no certificates.",
    )
    radii: Radii = Field(
        tuple(ThreatModel(255 * radius, Norm.L2) for radius in (0.25, 0.5, 0.75, 1.0)),
        min_length=1,
        description='L2 radii at which certified accuracy is reported and the attack is tried, such as "l2:0.5".',
        json_schema_extra={"default": ["l2:0.25", "l2:0.5", "l2:0.75", "l2:1"]},
    )
    images: int = Field(500, ge=1, le=1_000_000, description="Test images that are certified, evenly spaced.")
    selection_samples: int = Field(
        100, ge=1, le=1_000_000, description="Noisy copies of an image that choose the class (n0 in the paper)."
    )
    samples: int = Field(
        1000,
        ge=1,
        le=10_000_000,
        description="Noisy copies of an image that estimate the probability of the class (n in the paper: 100,000); "
        "they limit the largest radius.",
    )
    alpha: float = Field(0.001, gt=0, lt=0.5, description="Probability that the certificate of an image is wrong.")
    attack: AnyAttack = Field(
        default_factory=lambda: PGD(steps=20),
        description="Attack on the smoothed classifier (SmoothAdv, Salman et al. 2019), for the upper bound.",
    )
    attack_draws: int = Field(
        8,
        ge=0,
        le=1024,
        description="Draws of noise that the gradients of this attack are averaged over; 0 disables it.",
    )

    @property
    def attacks(self) -> bool:
        """Whether the smoothed classifier is attacked."""
        return self.attack_draws > 0

    @model_validator(mode="after")
    def _can_certify(self) -> Self:
        needed = math.floor(math.log(self.alpha) / math.log(0.5)) + 1
        if self.samples < needed:
            raise ValueError(
                f"samples: {self.samples} cannot certify anything at alpha {self.alpha:g}; the least is {needed}"
            )
        if self.attack.sources:
            raise ValueError("attack: an attack on the smoothed classifier cannot transfer from another model")
        try:
            for threat in self.radii:
                self.attack.check_threat(threat)
        except UserError as error:
            raise ValueError(f"attack: {error}") from error
        return self


class CertifyParams(CertificateSettings):
    """Parameters of the certificates of one model."""

    batch_size: int = Field(128, ge=1, le=4096, description="Noisy images per forward pass or gradient step.")
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of the noise and of random starts.")
    slices: Annotated[tuple[str, ...], AfterValidator(lambda names: tuple(map(SLICES.check, names)))] = Field(
        (), description="Slice features that are derived from the pixels."
    )

    def plugins(self) -> frozenset[str]:
        """See `Params.plugins`."""
        return super().plugins() | {SLICES.module(name) for name in self.slices}
