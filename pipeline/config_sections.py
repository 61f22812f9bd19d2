"""Sections of the config that select or combine the parameters of several components."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, field_validator

from dermrobust.attacks.cleverhans.fgsm import FGSM
from dermrobust.attacks.cleverhans.pgd import PGD
from dermrobust.attacks.errors import UserError
from dermrobust.attacks.selection import NamedAttacks
from dermrobust.attacks.threat import ThreatModel
from dermrobust.components import storage
from dermrobust.components.attack_settings import AttackSettings
from dermrobust.components.augment.component import AugmentParams
from dermrobust.components.budgets import StorableThreat
from dermrobust.components.component import Params
from dermrobust.components.evaluation.certificate_params import CertificateSettings
from dermrobust.components.evaluation.escalation_params import EscalationSettings
from dermrobust.components.evaluation.params import PredictParams, ProbeSizes, Reading
from dermrobust.components.evaluation.referral_params import ReferralSettings
from dermrobust.components.evaluation.thresholds import Gate, Threshold
from dermrobust.components.evaluation.transform_params import TransformSettings
from dermrobust.components.export.component import ExportParams
from dermrobust.components.runners.registry import REFUSED_RUNNERS

BASELINE = "vanilla"
"""Name of the model that is trained on clean images."""


def _absolute(root: str) -> str:
    if "\0" in root:
        raise ValueError("a path cannot hold the character NUL")
    try:
        storage.check_scheme(root)
    except UserError as error:
        raise ValueError(str(error)) from error
    return storage.absolute(root)


Root = Annotated[str, AfterValidator(_absolute)]
"""Folder or URI; a relative path counts from the present folder, and is recorded as an absolute one."""


class BeamConfig(Params):
    """Beam runner of the data-parallel work."""

    runner: str = Field(
        "DirectRunner", min_length=1, description="Beam runner; DirectRunner is Beam's in-process engine."
    )
    options: tuple[str, ...] = Field((), description='Options for the runner, such as "--job_endpoint=localhost:8099".')

    @field_validator("runner")
    @classmethod
    def _keeps_data(cls, runner: str) -> str:
        if runner in REFUSED_RUNNERS:
            raise ValueError(f"{runner} is refused: {REFUSED_RUNNERS[runner]}")
        return runner

    @field_validator("options")
    @classmethod
    def _ends(cls, options: tuple[str, ...]) -> tuple[str, ...]:
        if any("multi_processing" in option for option in options):
            raise ValueError(
                "direct_running_mode=multi_processing is refused: Beam 2.77 waits without end for a worker process "
                "that died. Leave it out, or use a cluster"
            )
        return options


def _default_attacks() -> dict[str, Any]:
    return {"fgsm": FGSM(), "pgd": PGD(steps=10)}


class AugmentConfig(AttackSettings):
    """Adversarial examples crafted on the baseline, and the models that are trained on them."""

    attacks: NamedAttacks = Field(
        default_factory=_default_attacks,
        description="Attacks by name, or the name of a suite: paper, standard, auto, "
        "auto-screened, auto-standard, auto-plus, auto-rand, minimal, black-box, sparse.",
    )
    epsilon: StorableThreat = Field(
        ThreatModel(4), description='Budget: 4 (L-infinity, in 1/255), "linf:4/255", "l2:0.5", "l1:12" or "l0:24".'
    )
    models: dict[str, tuple[str, ...]] = Field(
        default_factory=lambda: {"fgsm": ("fgsm",), "pgd": ("pgd",), "mixed": ("fgsm", "pgd")},
        description="Hardened models by name, each with the attacks whose examples it is trained on beside the clean "
        "images.",
    )
    train: dict[str, Any] = Field(
        default_factory=dict, description="Parameters of train that differ from the baseline's for hardened models."
    )

    def params(self, attack: str) -> AugmentParams:
        """Return the parameters of the node that crafts the examples of one attack."""
        return AugmentParams(
            attack=self.attacks[attack],
            epsilon=self.epsilon,
            batch_size=self.batch_size,
            gradient_precision=self.gradient_precision,
            seed=self.seed,
        )


def _default_gate() -> Gate:
    return Gate(
        candidate=BASELINE,
        thresholds=[
            Threshold(metric="balanced_accuracy", min=0.5),
            Threshold(metric="balanced_accuracy", attack="pgd", epsilon=1, min=0.2),
        ],
    )


class EvaluateConfig(PredictParams, Reading, TransformSettings):
    """Attacks on every model, measurement of the results, and the gate."""

    certificates: CertificateSettings = Field(
        default_factory=CertificateSettings, description="Certificates by randomized smoothing; off without sigmas."
    )
    referral: ReferralSettings = Field(
        default_factory=ReferralSettings, description="Selective prediction; off without rates."
    )
    probes: ProbeSizes = Field(default_factory=ProbeSizes, description="Sizes of the probes of the self-checks.")
    escalation: EscalationSettings = Field(
        default_factory=EscalationSettings, description="Attacks on models that fail a self-check of masked gradients."
    )
    gate: Gate = Field(default_factory=_default_gate, description="Requirements on the exported model.")


class ExportConfig(ExportParams):
    """Export and publication of a blessed model."""

    directory: str | None = Field(None, description="Folder or URI of published versions; default: <root>/export.")
