"""Schema of `card.json`: identity, training, test split, evaluation and figures of a model of the zoo."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from dermrobust.components.evaluation.checks import Check, Status
from dermrobust.components.evaluation.content import Content
from dermrobust.components.evaluation.names import CLEAN, WORST_CASE
from dermrobust.components.evaluation.rows import Figure
from dermrobust.components.evaluation.schemas import OVERALL
from dermrobust.models.preprocessing import Preprocessing
from dermrobust.models.task import Task

MODEL, CARD, CARD_TEXT, CONFIG = "model.keras", "card.json", "card.md", "config.json"
"""Files of a model's folder."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
ModelName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]


def _is_empty(value: Any) -> bool:
    return not value


class CardFigure(Content):
    """A figure of the evaluation, named as in its table of metrics; see `schemas.METRICS_SCHEMA`."""

    attack: str = Field(
        description='"none" for clean images, "worst_case" for the worst attack on each image, "colour/worst_case" for '
        "the worst search under a threat model beyond a norm, or the attack that found radii."
    )
    epsilon: float = Field(
        ge=0, description="Budget in 1/255; 0 for clean images; beyond a norm the strength of the threat model."
    )
    slice: str = Field(description='Images that were measured: "overall", or a class such as "dx=mel".')
    metric: str = Field(description="Metric; accuracy within a class is its recall.")
    value: float = Field(description="The figure.")
    n: int = Field(ge=0, description="Number of images.")
    lower: float | None = Field(None, description="Lower end of the 95 % interval.")
    upper: float | None = Field(None, description="Upper end of the 95 % interval.")
    small: bool = Field(False, description="Whether n is too small to conclude from.")

    @property
    def figure(self) -> Figure:
        """The figure as the evaluation holds it."""
        return Figure(self.value, self.n, self.lower, self.upper, self.small)


class Training(Content):
    """How the model was trained."""

    command: str = Field(description="Command that trains it again from `config.json`.")
    seconds: float = Field(ge=0, description="Duration of the training.")
    machine: str = Field(description="Machine of the training.")
    commit: str | None = Field(description="Commit of dermrobust; null: not known.")
    versions: dict[str, str] = Field(description="Versions of the libraries that shaped the weights.")
    threat: str | None = Field(description='Threat model of the training, such as "linf:4/255"; null: clean images.')
    network: Any = Field(description="Network with its parameters.")
    weights: int = Field(ge=0, description="Number of weights.")
    parameters: dict[str, Any] = Field(description="All parameters of the training.")
    fingerprint: str = Field(description="Fingerprint of the model artifact.")
    images: int | None = Field(description="Number of training images; null: not known.")


class TestSplit(Content):
    """Images that the model never saw, on which its figures were measured."""

    # pytest takes classes of this name for tests.
    __test__ = False

    dataset: str = Field(description="Data set.")
    images: int = Field(ge=1, description="Number of images.")
    groups: int = Field(ge=1, description="Number of groups, such as lesions; none has images in another split.")
    sha256: Sha256 = Field(description="Digest of the images and their ids; docs/zoo.md says how to recompute it.")


class Measurement(Content):
    """Settings of the evaluation."""

    run: str = Field(description="Run of the evaluation.")
    name: str = Field(description="Name of the model in that run.")
    norm: str = Field(description="Norm of the budgets.")
    epsilons: tuple[float, ...] = Field(description="Budgets in 1/255, ascending.")
    attacks: dict[str, dict[str, Any]] = Field(description="Attacks with their parameters, by name.")
    settings: dict[str, Any] = Field(description="Further parameters of the attacks' execution.")
    # What is empty is left out, so that cards without it keep their digest.
    threats: tuple[str, ...] = Field(
        (), exclude_if=_is_empty, description='Threat models beyond a norm, such as "colour:1"; left out: none.'
    )
    searches: dict[str, dict[str, Any]] = Field(
        {}, exclude_if=_is_empty, description="Searches under these threat models with their parameters, by name."
    )
    seed: int = Field(description="Seed of random starts.")
    specificity: float = Field(description="Specificity at which sensitivity to the critical classes is measured.")
    constant_class: str | None = Field(description="Class of the constant classifier; null: it was not measured.")
    versions: dict[str, str] = Field(description="Versions of the libraries that made the predictions.")


class Card(Content):
    """Content of `card.json`."""

    version: Literal[1] = Field(1, description="Version of this schema.")
    name: ModelName = Field(description="Name of the model, and of its folder.")
    task: Task = Field(description="Classification problem; its `class_names` are in the order of the outputs.")
    preprocessing: Preprocessing = Field(description="From a photograph to the input of the network.")
    input: str = Field(description="Input of the network.")
    output: str = Field(description="Output of the network.")
    license: str = Field(description="License of the weights (SPDX).")
    license_reason: str = Field(description="Origin of the license.")
    training: Training = Field(description="How the model was trained.")
    split: TestSplit = Field(description="Images that it never saw.")
    evaluation: Measurement = Field(description="Settings of the evaluation.")
    audits: tuple[Measurement, ...] = Field(
        (), description="Settings of audits that measured further budgets, with the attacks that need no other model."
    )
    figures: tuple[CardFigure, ...] = Field(description="Figures of the model.")
    radii: tuple[CardFigure, ...] = Field(
        (),
        exclude_if=_is_empty,
        description="Median robust radii of the model, where a pixel is 0 to 1, under each attack that looks for the "
        "nearest misclassified image; `epsilon` is the largest budget tried. Left out: there is no such attack.",
    )
    beyond: tuple[CardFigure, ...] = Field(
        (),
        exclude_if=_is_empty,
        description="Accuracy of the model in the worst case of each threat model beyond a norm. Left out: none.",
    )
    floor: tuple[CardFigure, ...] = Field((), description="Figures of the constant classifier.")
    checks: tuple[Check, ...] = Field(description="Self-checks of the model and of the evaluation as a whole.")
    files: dict[str, Sha256] = Field(description="SHA-256 of every other file of the folder, by name.")
    digest: str = Field("", description="SHA-256 of this file with an empty digest.")

    @property
    def full_name(self) -> str:
        """Name with the task, such as "ham10000/robust"."""
        return f"{self.task.name}/{self.name}"

    @property
    def class_slices(self) -> tuple[str, ...]:
        """Slices of the classes, in their order."""
        return tuple(f"{self.task.class_key}={name}" for name in self.task.class_names)

    @property
    def epsilons(self) -> tuple[float, ...]:
        """Budgets of the evaluation and of all audits in 1/255, ascending."""
        return tuple(sorted(epsilon for each in (self.evaluation, *self.audits) for epsilon in each.epsilons))

    @property
    def conditions(self) -> tuple[tuple[str, float], ...]:
        """Clean images, and the worst case at each budget, each as (attack, epsilon)."""
        return conditions(self.epsilons)

    @property
    def failed(self) -> tuple[Check, ...]:
        """Self-checks that fail."""
        return tuple(check for check in self.checks if check.status is Status.FAIL)

    def figure(self, attack: str, epsilon: float, metric: str, slice: str = OVERALL) -> Figure | None:
        """Return a figure of the model; None where it was not measured or is undefined."""
        return find_figure(self.figures, attack, epsilon, metric, slice)

    def to_json(self) -> bytes:
        """Return the content of `card.json`, with its digest: equal cards are equal bytes."""
        bare = self.model_copy(update={"digest": ""})
        return _encode(bare.model_copy(update={"digest": hashlib.sha256(_encode(bare)).hexdigest()}))


def conditions(epsilons: Iterable[float]) -> tuple[tuple[str, float], ...]:
    """Return clean images, and the worst case at each budget, each as (attack, epsilon)."""
    return ((CLEAN, 0.0), *((WORST_CASE, epsilon) for epsilon in epsilons))


def find_figure(
    figures: Iterable[CardFigure], attack: str, epsilon: float, metric: str, slice: str = OVERALL
) -> Figure | None:
    """Return the figure of a place; None where there is none."""
    wanted = (attack, epsilon, metric, slice)
    for each in figures:
        if (each.attack, each.epsilon, each.metric, each.slice) == wanted:
            return each.figure
    return None


def _encode(card: Card) -> bytes:
    return card.model_dump_json(indent=1).encode() + b"\n"
