"""Train: examples, and adversarial ones beside them where a model is to be hardened, become a network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from components.artifacts import ArtifactType
from components.component import Component, Params
from models.registry import NETWORKS, OBJECTIVES, checked_name


def _network_name(name: str) -> str:
    return checked_name(name, NETWORKS, "network")


def _objective_name(name: str) -> str:
    return checked_name(name, OBJECTIVES, "objective")


class TrainParams(Params):
    """How a network is trained."""

    network: Annotated[str, AfterValidator(_network_name)] = Field(
        "small_resnet", description="From models/registry.py."
    )
    objective: Annotated[str, AfterValidator(_objective_name)] = Field(
        "cross_entropy", description="What is minimised."
    )
    class_weighting: Literal["none", "sqrt", "inverse"] = Field(
        "sqrt", description="Weight of a class: equal, or its frequency to the power of -1/2 or -1."
    )
    epochs: int = Field(20, ge=1, le=10_000, description="Passes over the images, at most.")
    batch_size: int = Field(64, ge=1, le=4096, description="Images a step.")
    learning_rate: float = Field(2e-3, gt=0, le=1, description="Peak of the cosine schedule (AdamW).")
    warmup_epochs: float = Field(
        1.0, ge=0, allow_inf_nan=False, description="Passes over which the learning rate rises from zero."
    )
    weight_decay: float = Field(0.02, ge=0, le=1, description="Of AdamW.")
    patience: int = Field(
        8, ge=1, description="Stop after so many epochs without a better validation balanced accuracy."
    )
    weight_averaging: float = Field(
        0.995, ge=0, lt=1, description="Decay of the moving average of the weights, which is what is kept; 0: none."
    )
    augmentation: Literal["none", "flips", "strong"] = Field(
        "flips",
        description="flips: flips and rotations by 90 degrees; strong: free rotation, zoom, shift and light as well, "
        "which blurs adversarial perturbations and so is for clean images.",
    )
    shuffle_buffer: int = Field(16_384, ge=1, description="Records that are shuffled at a time, which bounds memory.")
    xla: bool = Field(True, description="Compile the training step with XLA.")
    seed: int = Field(0, ge=0, lt=2**31, description="The same seed gives the same model.")


TRAIN = Component(
    name="train",
    params=TrainParams,
    inputs={"examples": ArtifactType.EXAMPLES, "adversarial": ArtifactType.ADVERSARIAL_EXAMPLES},
    outputs={"model": ArtifactType.MODEL},
    executor="components.train.executor:run",
    libraries=("tensorflow", "keras"),
)
