"""Augment: craft adversarial examples of the training images against a trained model."""

from __future__ import annotations

from pydantic import Field

from dermrobust.attacks.selection import AnyAttack
from dermrobust.attacks.threat import ThreatModel
from dermrobust.components.artifacts import ArtifactType
from dermrobust.components.attack_settings import AttackSettings
from dermrobust.components.budgets import StorableThreat
from dermrobust.components.component import Component


class AugmentParams(AttackSettings):
    """Parameters of crafting."""

    # By name, so that the module of the default attack counts only where it is selected (see `Params.plugins`).
    attack: AnyAttack = Field("fgsm", validate_default=True, description="Attack: a name, or a name with parameters.")
    epsilon: StorableThreat = Field(
        ThreatModel(4), description='Budget: 4 (L-infinity, in 1/255), "linf:4/255", "l2:0.5", "l1:12", "l0:24".'
    )


AUGMENT = Component(
    name="augment",
    params=AugmentParams,
    inputs={"examples": ArtifactType.EXAMPLES, "model": ArtifactType.MODEL},
    outputs={"adversarial": ArtifactType.ADVERSARIAL_EXAMPLES},
    executor="dermrobust.components.augment.executor:run",
    libraries=("tensorflow", "keras", "cleverhans"),
    resumable=True,
)
