"""Train: fit a network to examples, and to adversarial examples beside them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dermrobust.attacks.target import Precision
from dermrobust.components.artifacts import ArtifactType
from dermrobust.components.component import Component, Params
from dermrobust.models.networks.selection import AnyNetwork
from dermrobust.models.objectives.selection import AnyObjective


class TrainParams(Params):
    """Parameters of training."""

    # By name, so that the module of a default plug-in counts only where it is selected (see `Params.plugins`).
    network: AnyNetwork = Field(
        "small_resnet",
        validate_default=True,
        description="Architecture and initial weights: a name in models/registry.py, or a name with parameters.",
    )
    objective: AnyObjective = Field(
        "cross_entropy",
        validate_default=True,
        description="Loss and adversarial images of a step: a name in models/registry.py, or a name with parameters.",
    )
    class_weighting: Literal["none", "sqrt", "inverse"] = Field(
        "sqrt",
        description="Weight of a class in the loss: equal, or its frequency among the drawn images to the power of "
        "-1/2 or -1. After class_sampling 'inverse' all classes are equally frequent and have equal weights.",
    )
    logit_adjustment: float = Field(
        0.0,
        ge=0,
        le=4,
        description="Factor of the logarithm of each class's frequency among the drawn images that is added to the "
        "logits in training only (Menon et al. 2021); 1: balanced softmax (Ren et al. 2020). It favors rare classes, "
        "as class_weighting does, so use one of them: class_weighting 'none'.",
    )
    class_sampling: Literal["none", "sqrt", "inverse"] = Field(
        "none",
        description="Frequency with which images are drawn: equal for all images (none); such that a class's share is "
        "the square root of its frequency (sqrt) or equal for all classes (inverse). The length of an epoch stays the "
        "same.",
    )
    class_budgets: dict[str, Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)]] = Field(
        default={},
        description="Factor of the training budget by class, for adversarial objectives (Wei et al. 2023, arXiv "
        "2303.14460); classes that are not named have 1.",
    )
    initial_weights: Literal["network", "baseline"] = Field(
        "network",
        description="Weights that training starts from: those of `network`, or those of the trained baseline, for "
        "defenses with the baseline's network.",
    )
    distillation: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the baseline's predictions for the clean image in the targets of the loss (Goldblum et "
        "al. 2020, arXiv 1905.09747), for defenses.",
    )
    epochs: int = Field(20, ge=1, le=10_000, description="Largest number of passes over the images.")
    batch_size: int = Field(64, ge=1, le=4096, description="Number of images per step.")
    learning_rate: float = Field(2e-3, gt=0, le=1, description="Peak learning rate of the cosine schedule (AdamW).")
    warmup_epochs: float = Field(
        1.0, ge=0, allow_inf_nan=False, description="Number of epochs over which the learning rate rises from zero."
    )
    backbone_learning_rate: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Learning rate of the layers of a pretrained network, as a fraction of that of its new head.",
    )
    head_epochs: int = Field(
        0,
        ge=0,
        le=10_000,
        description="Number of first epochs in which only the head of a pretrained network is trained.",
    )
    weight_decay: float = Field(0.02, ge=0, le=1, description="Weight decay of AdamW.")
    gradient_clip: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Largest norm of the gradient of all weights together; longer ones are scaled down; null: no "
        "limit.",
    )
    weight_perturbation: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Adversarial weight perturbation (Wu et al. 2020): length of the perturbation of each kernel, "
        "relative to its norm; published: 0.005 to 0.01. It costs another gradient per step; 0 disables it.",
    )
    patience: int = Field(
        8,
        ge=1,
        description="Number of epochs without a better validation balanced accuracy after which training stops; with "
        "an adversarial objective, without a better robust balanced accuracy. The best epoch is kept.",
    )
    validation_steps: int = Field(
        10, ge=1, le=1000, description="Number of PGD steps of robust validation, for adversarial objectives."
    )
    validation_images: int | None = Field(
        None, ge=1, description="Number of validation images that robust validation attacks; null: all."
    )
    overfitting_drop: float = Field(
        0.2,
        gt=0,
        le=1,
        description="Fall of validation robust accuracy below that of the best epoch that stops training with an "
        "adversarial objective, if robust balanced accuracy is also below half of its best (catastrophic overfitting).",
    )
    weight_averaging: float = Field(
        0.995, ge=0, lt=1, description="Decay of the moving average of the weights, which is kept; 0 disables it."
    )
    augmentation: Literal["none", "flips", "strong"] = Field(
        "flips",
        description="Random changes of training images. flips: flips, and rotations by 90 degrees of square images; "
        "strong: also free rotation, zoom, shift and light, which blur the perturbation of stored adversarial examples "
        "(objectives craft theirs after the augmentation).",
    )
    shuffle_buffer: int = Field(16_384, ge=1, description="Number of records shuffled at a time; bounds memory.")
    precision: Precision = Field(
        "float32",
        description="Precision in which inner layers compute; variables stay float32, and so does the trained model. "
        "bfloat16 was faster on a CPU with AVX-512-BF16, except for depthwise convolutions, which were slower.",
    )
    saved_precision: Precision = Field(
        "float32",
        description="Precision to which the kernels of the trained network are rounded, after its validation; their "
        "type stays float32. With bfloat16 the file of the network is about half as large.",
    )
    xla: bool = Field(True, description="Compile the training step with XLA.")
    seed: int = Field(0, ge=0, lt=2**31, description="Random seed: the same seed gives the same model.")

    @property
    def needs_baseline(self) -> bool:
        """Whether training reads the trained baseline."""
        return self.initial_weights == "baseline" or self.distillation > 0

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.logit_adjustment and self.class_weighting != "none":
            raise ValueError("logit_adjustment: set class_weighting to 'none', or rare classes are favored twice")
        if self.class_budgets and not self.objective.adversarial:
            raise ValueError("class_budgets: this objective has no budget; choose an adversarial one")
        if self.distillation and not self.objective.takes_probabilities:
            raise ValueError("distillation: this objective is defined for labels only; choose another one")
        if (self.head_epochs or self.backbone_learning_rate != 1.0) and not self.network.pretrained:
            raise ValueError(
                "head_epochs and backbone_learning_rate are for pretrained networks; this one has random weights"
            )
        if self.head_epochs >= self.epochs:
            raise ValueError(f"head_epochs: {self.head_epochs} must be fewer than the {self.epochs} epochs")
        return self


TRAIN = Component(
    name="train",
    params=TrainParams,
    inputs={
        "examples": ArtifactType.EXAMPLES,
        "adversarial": ArtifactType.ADVERSARIAL_EXAMPLES,
        "baseline": ArtifactType.MODEL,
    },
    outputs={"model": ArtifactType.MODEL},
    executor="dermrobust.components.train.executor:run",
    external_content="dermrobust.components.train.initial_weights:digest",
    libraries=("tensorflow", "keras", "cleverhans"),
    concurrent=True,
)
