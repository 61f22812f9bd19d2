"""Evaluate: every model under no attack and under attacks through its own gradients; then metrics and the gate."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from attacks.cleverhans.fgsm import FGSM
from attacks.cleverhans.pgd import PGD
from attacks.registry import AnyAttack
from components.artifacts import ArtifactType
from components.component import Component, Params
from components.evaluate.thresholds import Gate

Epsilon = Annotated[float, Field(ge=1, le=255)]


def _all_different(epsilons: tuple[float, ...]) -> tuple[float, ...]:
    if len(set(epsilons)) < len(epsilons):
        raise ValueError("an epsilon stands in the list twice")
    return epsilons


Epsilons = Annotated[tuple[Epsilon, ...], AfterValidator(_all_different)]


def _default_attacks() -> dict[str, AnyAttack]:
    return {"fgsm": FGSM(), "pgd": PGD(steps=20)}


class PredictParams(Params):
    """What a model is put through."""

    attacks: dict[str, AnyAttack] = Field(
        default_factory=_default_attacks, description="Attacks by the name that they have in results."
    )
    epsilons: Epsilons = Field((1.0, 2.0, 4.0, 8.0), min_length=1, description="Budgets in 1/255.")
    batch_size: int = Field(128, ge=1, le=4096, description="Images a gradient step.")
    seed: int = Field(0, ge=0, lt=2**31, description="Of random starts.")


class EvaluateParams(Params):
    """What the predictions are held to."""

    models: tuple[str, ...] = Field((), description="Names of the models, in the order of their predictions.")
    class_names: tuple[str, ...] = Field((), description="In the order of the probabilities.")
    gate: Gate = Field(description="Thresholds that the candidate must meet.")


PREDICT = Component(
    name="predict",
    params=PredictParams,
    inputs={"examples": ArtifactType.EXAMPLES, "model": ArtifactType.MODEL},
    outputs={"predictions": ArtifactType.PREDICTIONS},
    executor="components.evaluate.predict:run",
    libraries=("tensorflow", "keras", "cleverhans", "pyarrow"),
)

EVALUATE = Component(
    name="evaluate",
    params=EvaluateParams,
    inputs={"predictions": ArtifactType.PREDICTIONS},
    outputs={"evaluation": ArtifactType.EVALUATION, "blessing": ArtifactType.BLESSING},
    executor="components.evaluate.executor:run",
    libraries=("tensorflow-model-analysis", "tfx-bsl", "pyarrow", "apache-beam"),
)
