"""Craft: adversarial examples of the test images on one model, to be scored by others (transfer)."""

from __future__ import annotations

from pydantic import Field

from dermrobust.attacks.cleverhans.pgd import PGD
from dermrobust.attacks.selection import AnyAttack
from dermrobust.attacks.threat import ThreatModel
from dermrobust.components.artifacts import ArtifactType
from dermrobust.components.attack_settings import AttackSettings
from dermrobust.components.component import Component
from dermrobust.components.evaluation.params import Threats


class CraftParams(AttackSettings):
    """Attack on the source model, and the images it is carried out on."""

    name: str = Field("transfer", min_length=1, description="Name of the attack in results; it seeds random starts.")
    attack: AnyAttack = Field(default_factory=lambda: PGD(steps=20), description="Attack and its parameters.")
    epsilons: Threats = Field((ThreatModel(4),), min_length=1, description="Budgets, all of one norm.")
    images: int | None = Field(
        None, ge=1, description="Number of test images, evenly spaced in the order of the split; null: all."
    )


CRAFT = Component(
    name="craft",
    params=CraftParams,
    inputs={"examples": ArtifactType.EXAMPLES, "model": ArtifactType.MODEL},
    outputs={"adversarial": ArtifactType.ADVERSARIAL_EXAMPLES},
    executor="dermrobust.components.craft.executor:run",
    libraries=("tensorflow", "keras", "cleverhans"),
    resumable=True,
)
