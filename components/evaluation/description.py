"""What was evaluated and how, for those who read the figures later."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class About(BaseModel):
    """As `evaluation.json` in an evaluation.

    Attributes:
        models: names of the models.
        baseline: the model that others are compared with.
        candidate: the model that wants to be exported.
        class_names: in the order of the labels.
        malignant: those that must not be taken for benign ones.
        norm: that measures budgets.
        epsilons: the budgets in 1/255.
        attacks: the attacks by name, with their parameters.
        seed: of random starts.
        min_slice_size: images below which a figure is marked as small.
        specificity: at which sensitivity to melanoma was measured.
        images, lesions: how many were tested.
        notes: what a reader must know, such as slices that could not be made.
        versions: of the libraries that the predictions were made with.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: tuple[str, ...]
    baseline: str | None
    candidate: str
    class_names: tuple[str, ...]
    malignant: tuple[str, ...]
    norm: str
    epsilons: tuple[float, ...]
    attacks: dict[str, dict[str, Any]]
    seed: int
    min_slice_size: int
    specificity: float
    images: int
    lesions: int
    notes: tuple[str, ...]
    versions: dict[str, str]
