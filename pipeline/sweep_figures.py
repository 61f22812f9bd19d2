"""Validation figures of the models of a sweep, read from the store."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv

from dermrobust.attacks.errors import UserError
from dermrobust.pipeline.outcomes import NodeResult
from dermrobust.pipeline.sweep import SweepResult

FIGURES = ("accuracy", "balanced_accuracy", "robust_accuracy", "robust_balanced_accuracy")
"""Figures on the validation split in the epoch that is kept; the robust ones are those of adversarial objectives."""
_PREFIX = "validation_"
_METRICS = "metrics.json"
"""`METRICS` of components/model_files.py, which imports TensorFlow."""


@dataclass(frozen=True)
class TrainedModel:
    """A model of one seed.

    Attributes:
        model: its name.
        seed: its seed.
        status: outcome of its training: done, cached, failed or skipped.
        message: reason of a failure or skip, in one line.
        epoch: epoch that is kept, from 1; None: it is not trained.
        epochs: number of epochs until training stopped.
        figures: figures by name; what was not measured is missing.
        uri: its artifact.
    """

    model: str
    seed: int
    status: str
    message: str = ""
    epoch: int | None = None
    epochs: int | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    uri: str | None = None

    def row(self) -> dict[str, Any]:
        """Return it as a row of a table."""
        figures = {name: self.figures.get(name) for name in FIGURES}
        kept = {"epoch": self.epoch, "epochs": self.epochs, "status": self.status, "message": self.message}
        return {"model": self.model, "seed": self.seed, **figures, **kept, "uri": self.uri}


@dataclass(frozen=True)
class Spread:
    """A figure of a model over the seeds that have it.

    Attributes:
        mean: mean.
        deviation: sample standard deviation; None for one seed.
        n: number of seeds.
    """

    mean: float
    deviation: float | None
    n: int


def trained_models(result: SweepResult) -> list[TrainedModel]:
    """Return the models of a sweep by model, then by seed."""
    return [
        _trained(model, seed, next(node for node in run.nodes if node.node == f"train[{model}]"))
        for model in result.models
        for seed, run in result.runs.items()
    ]


def spreads(models: Sequence[TrainedModel]) -> dict[str, dict[str, Spread]]:
    """Return the spread of each figure over the seeds by model and figure; without a trained model there is none."""
    found: dict[str, dict[str, Spread]] = {each.model: {} for each in models}
    for model, by_figure in found.items():
        for name in FIGURES:
            values = [each.figures[name] for each in models if each.model == model and name in each.figures]
            if values:
                deviation = statistics.stdev(values) if len(values) > 1 else None
                by_figure[name] = Spread(statistics.fmean(values), deviation, len(values))
    return found


def write_csv(models: Sequence[TrainedModel], path: Path) -> None:
    """Write a row for each model and seed.

    Raises:
        UserError: the file cannot be written.
    """
    figures = [(name, pa.float64()) for name in FIGURES]
    kept = [("epoch", pa.int64()), ("epochs", pa.int64()), ("status", pa.string()), ("message", pa.string())]
    schema = pa.schema([("model", pa.string()), ("seed", pa.int64()), *figures, *kept, ("uri", pa.string())])
    try:
        csv.write_csv(pa.Table.from_pylist([each.row() for each in models], schema), path)
    except OSError as error:
        raise UserError(f"the table cannot be written to '{path}': {error.strerror or error}") from error


def _trained(model: str, seed: int, node: NodeResult) -> TrainedModel:
    artifact = node.outputs.get("model")
    if artifact is None:
        return TrainedModel(model, seed, node.status, node.message.partition("\n")[0])
    values = artifact.read_json(_METRICS)
    figures = {name: values[_PREFIX + name] for name in FIGURES if _PREFIX + name in values}
    return TrainedModel(model, seed, node.status, "", values["epoch"], values["epochs"], figures, artifact.uri)
