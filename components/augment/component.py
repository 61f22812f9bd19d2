"""Augment: adversarial examples of the training images, crafted against a trained model."""

from __future__ import annotations

from pydantic import Field

from dermrobust.attacks.cleverhans.fgsm import FGSM
from dermrobust.attacks.selection import AnyAttack
from dermrobust.attacks.target import Precision
from dermrobust.attacks.threat import ThreatModel
from dermrobust.components.artifacts import ArtifactType
from dermrobust.components.budgets import StorableThreat
from dermrobust.components.component import Component, Params
from dermrobust.components.gradient_precision import GRADIENT_PRECISION


class AugmentParams(Params):
    """Which adversarial examples are crafted."""

    attack: AnyAttack = Field(default_factory=FGSM, description="The attack and its parameters.")
    epsilon: StorableThreat = Field(
        ThreatModel(4), description='Budget: 4 (L-infinity, in 1/255), "linf:4/255", "l2:0.5".'
    )
    batch_size: int = Field(128, ge=1, le=4096, description="Images a gradient step.")
    gradient_precision: Precision = GRADIENT_PRECISION
    seed: int = Field(0, ge=0, lt=2**31, description="Of random starts.")


AUGMENT = Component(
    name="augment",
    params=AugmentParams,
    inputs={"examples": ArtifactType.EXAMPLES, "model": ArtifactType.MODEL},
    outputs={"adversarial": ArtifactType.ADVERSARIAL_EXAMPLES},
    executor="dermrobust.components.augment.executor:run",
    libraries=("tensorflow", "keras", "cleverhans"),
)
