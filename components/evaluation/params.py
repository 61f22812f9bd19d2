"""Parameters of the components that evaluate models.

They stand apart from the declarations: importing those would make a change of one component a change of all.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from dermrobust.attacks.apgd import APGDCE
from dermrobust.attacks.attack import Attack
from dermrobust.attacks.cleverhans.pgd import PGD
from dermrobust.attacks.selection import NamedAttacks, read_suite
from dermrobust.attacks.sparse_rs import SparseRS
from dermrobust.attacks.threat import Norm, ThreatModel
from dermrobust.components.attack_settings import AttackSettings
from dermrobust.components.budgets import StorableThreat
from dermrobust.components.component import Params
from dermrobust.components.corruptions.registry import CORRUPTIONS
from dermrobust.components.evaluation.metrics.registry import METRICS
from dermrobust.components.slices.registry import SLICES


def _comparable(threats: tuple[ThreatModel, ...]) -> tuple[ThreatModel, ...]:
    if len(set(threats)) < len(threats):
        raise ValueError("an epsilon stands in the list twice")
    if len({threat.norm for threat in threats}) > 1:
        raise ValueError("one evaluation has one norm, so that its budgets can be compared; use a config for each norm")
    return threats


Threats = Annotated[tuple[StorableThreat, ...], AfterValidator(_comparable)]


def _default_attacks() -> dict[str, Any]:
    return read_suite("paper")


class PredictParams(AttackSettings):
    """Attacks and budgets of an evaluation."""

    attacks: NamedAttacks = Field(
        default_factory=_default_attacks,
        description="Attacks by the name that they have in results, or the name of a suite: paper, standard, auto, "
        "auto-screened, auto-standard, auto-plus, auto-rand, minimal, black-box, sparse.",
    )
    epsilons: Threats = Field(
        tuple(ThreatModel(epsilon) for epsilon in (1, 2, 4, 8)),
        min_length=1,
        description='Budgets: 4 (L-infinity, in 1/255), "linf:4/255", "l2:0.5", "l1:12" or "l0:24"; all of one norm.',
    )
    stop_at_success: bool = Field(
        True,
        description="Stop at the first misclassification of an image: the same accuracies, several times faster; "
        "false: use the whole budget, which lowers the probabilities that macro AUC is computed from.",
    )
    surrogates: tuple[str, ...] = Field(
        (), description="Names of the models that ensembles transfer from, in the order of the inputs."
    )
    transferred: tuple[str, ...] = Field(
        (), description="Names of the attacks whose examples are crafted already, in the order of the inputs."
    )
    slices: Annotated[tuple[str, ...], AfterValidator(lambda names: tuple(map(SLICES.check, names)))] = Field(
        (), description="Slice features that are derived from the pixels."
    )

    def plugins(self) -> frozenset[str]:
        """See `Params.plugins`."""
        return super().plugins() | {SLICES.module(name) for name in self.slices}


class ProbeSizes(Params):
    """Sizes of the probes that test the figures of an evaluation."""

    images: int = Field(
        256, ge=1, le=1_000_000, description="Test images on which stronger and other attacks are tried."
    )
    queries: int = Field(300, ge=0, le=1_000_000, description="Queries per image of the Square attack; 0 disables it.")
    spsa_images: int = Field(8, ge=0, le=1_000_000, description="Test images for SPSA, which is slow; 0 disables it.")
    noise_draws: int = Field(10, ge=1, le=10_000, description="Random perturbations per image of the noise probe.")
    corruption_images: int = Field(
        512, ge=0, le=1_000_000, description="Test images that natural corruptions are applied to; 0 disables them."
    )


class ProbeParams(PredictParams, ProbeSizes):
    """Attacks and budgets of the evaluation, and sizes of the probes.

    `transferred` names the models that examples were crafted on; see `transfer_probe`.
    """

    corruptions: Annotated[tuple[str, ...], AfterValidator(lambda names: tuple(map(CORRUPTIONS.check, names)))] = Field(
        (), description="Natural corruptions, by name."
    )

    def plugins(self) -> frozenset[str]:
        """See `Params.plugins`."""
        return super().plugins() | {CORRUPTIONS.module(name) for name in self.corruptions}


def transfer_probe(source: str, norm: Norm) -> tuple[str, Attack]:
    """Return the name and the attack of the examples that are crafted on another model to probe with."""
    crafted_with = next(
        attack for attack in (PGD(steps=20), APGDCE(steps=20), SparseRS(queries=300)) if norm in attack.norms
    )
    return f"transfer from {source}", crafted_with


class Reading(Params):
    """Settings of the measurement: malignant classes, specificity, sizes."""

    malignant: tuple[str, ...] | None = Field(
        None, description="Classes that must not be taken for the others; null: those that the task names."
    )
    specificity: float = Field(
        0.9, gt=0, lt=1, description="Specificity at which sensitivity to the critical classes is measured."
    )
    min_slice_size: int = Field(
        30, ge=1, le=1_000_000, description="Number of images below which a figure is marked and does not gate."
    )
    gallery: int = Field(24, ge=0, le=200, description="Flipped images that the report shows of each model.")


class EvaluateParams(Reading):
    """Parameters of the measurement of all models. They have no thresholds, which change no figure."""

    models: tuple[str, ...] = Field((), description="Names of the models, in the order of their predictions.")
    attacks: NamedAttacks = Field(default_factory=_default_attacks, description="Attacks on the models, by name.")
    epsilons: Threats = Field((), description="Budgets of the attacks.")
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of random starts.")
    control: str | None = Field(None, description="The undefended model, which the attacks must break.")
    baseline: str | None = Field(None, description="The model that the others are compared with; null: the control.")
    slices: tuple[str, ...] = Field((), description="Slice features that predict derives from the pixels.")

    @property
    def norm(self) -> Norm:
        """Norm of the budgets."""
        return self.epsilons[0].norm

    def plugins(self) -> frozenset[str]:
        """Return the modules of the selected plug-ins; all metrics are measured."""
        return super().plugins() | {METRICS.module(name) for name in METRICS.names}
