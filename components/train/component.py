"""Train: examples, and adversarial ones beside them where a model is to be hardened, become a network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from dermrobust.components.artifacts import ArtifactType
from dermrobust.components.component import Component, Params
from dermrobust.models.objectives.cross_entropy import CrossEntropy
from dermrobust.models.registry import NETWORKS, AnyObjective, checked_name


def _network_name(name: str) -> str:
    return checked_name(name, NETWORKS, "network")


class TrainParams(Params):
    """How a network is trained."""

    network: Annotated[str, AfterValidator(_network_name)] = Field(
        "small_resnet", description="From models/registry.py."
    )
    objective: AnyObjective = Field(
        CrossEntropy(), description="What is minimised: a name, or a name with parameters; from models/registry.py."
    )
    class_weighting: Literal["none", "sqrt", "inverse"] = Field(
        "sqrt",
        description="Weight of a class in the loss: equal, or its frequency among the images as they are drawn to the "
        "power of -1/2 or -1. After class_sampling 'inverse' all classes are equally frequent, and so weigh the same.",
    )
    class_sampling: Literal["none", "sqrt", "inverse"] = Field(
        "none",
        description="How often images are drawn: all equally; or so that a class's share is the square root of its "
        "frequency (sqrt) or equal for all (inverse). An epoch stays as long as it is.",
    )
    epochs: int = Field(20, ge=1, le=10_000, description="Passes over the images, at most.")
    batch_size: int = Field(64, ge=1, le=4096, description="Images a step.")
    learning_rate: float = Field(2e-3, gt=0, le=1, description="Peak of the cosine schedule (AdamW).")
    warmup_epochs: float = Field(
        1.0, ge=0, allow_inf_nan=False, description="Passes over which the learning rate rises from zero."
    )
    weight_decay: float = Field(0.02, ge=0, le=1, description="Of AdamW.")
    weight_perturbation: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Adversarial weight perturbation (Wu et al. 2020): gradients are taken where each kernel was moved "
        "by this part of its norm to raise the loss; published: 0.005 to 0.01. It costs another gradient. 0: none.",
    )
    patience: int = Field(
        8,
        ge=1,
        description="Stop after so many epochs without a better validation balanced accuracy; with an adversarial "
        "objective it is the robust balanced accuracy. The best epoch is kept.",
    )
    validation_steps: int = Field(
        10, ge=1, le=1000, description="Steps of the PGD that gives adversarial objectives their robust figures."
    )
    validation_images: int | None = Field(
        None, ge=1, description="Robust figures are of the first so many validation images; null: of all."
    )
    overfitting_drop: float = Field(
        0.2,
        gt=0,
        le=1,
        description="With an adversarial objective: stop when validation robust accuracy is by more than this below "
        "that of the best epoch, and robust balanced accuracy below half of it (catastrophic overfitting).",
    )
    weight_averaging: float = Field(
        0.995, ge=0, lt=1, description="Decay of the moving average of the weights, which is what is kept; 0: none."
    )
    augmentation: Literal["none", "flips", "strong"] = Field(
        "flips",
        description="flips: flips and rotations by 90 degrees; strong: free rotation, zoom, shift and light as well, "
        "which blurs the perturbation of stored adversarial examples; objectives craft theirs after it.",
    )
    shuffle_buffer: int = Field(16_384, ge=1, description="Records that are shuffled at a time, which bounds memory.")
    xla: bool = Field(True, description="Compile the training step with XLA.")
    seed: int = Field(0, ge=0, lt=2**31, description="The same seed gives the same model.")


TRAIN = Component(
    name="train",
    params=TrainParams,
    inputs={"examples": ArtifactType.EXAMPLES, "adversarial": ArtifactType.ADVERSARIAL_EXAMPLES},
    outputs={"model": ArtifactType.MODEL},
    executor="dermrobust.components.train.executor:run",
    libraries=("tensorflow", "keras", "cleverhans"),
)
