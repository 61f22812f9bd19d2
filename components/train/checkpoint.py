"""Where a training stands after an epoch, so that it can go on after a crash."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np


@dataclass
class TrainingState:
    """All that the next epoch depends on.

    Attributes:
        epoch: epochs done.
        history: a row of figures for each epoch.
        best_epoch: the epoch, from 1, with the best score; 0 before the first.
        best_score: its validation balanced accuracy, the robust one for an adversarial objective.
        best_weights: the network's variables then.
    """

    epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    best_score: float = -1.0
    best_weights: list[np.ndarray[Any, Any]] = field(default_factory=list)


def _values(variables: Sequence[keras.Variable]) -> list[np.ndarray[Any, Any]]:
    return [np.asarray(variable.numpy()) for variable in variables]


def network_weights(network: keras.Model) -> list[np.ndarray[Any, Any]]:
    """Return copies of all of a network's variables."""
    return _values(network.variables)


def assign(variables: Sequence[keras.Variable], values: Sequence[np.ndarray[Any, Any]]) -> None:
    """Set variables."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def save(path: Path, state: TrainingState, variables: Sequence[keras.Variable]) -> None:
    """Write a checkpoint of a state and of all variables that move; a crash while writing leaves the one before."""
    arrays = {
        **{f"variable{index}": value for index, value in enumerate(_values(variables))},
        **{f"best{index}": value for index, value in enumerate(state.best_weights)},
    }
    figures = {
        "epoch": state.epoch,
        "history": state.history,
        "best_epoch": state.best_epoch,
        "best_score": state.best_score,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(file, figures=np.frombuffer(json.dumps(figures).encode(), dtype=np.uint8), **arrays)  # type: ignore[arg-type]
    partial.replace(path)


def restore(path: Path, variables: Sequence[keras.Variable]) -> TrainingState:
    """Set variables to a checkpoint and return its state; a new state when there is none."""
    if not path.exists():
        return TrainingState()
    with np.load(path, allow_pickle=False) as stored:
        figures = json.loads(stored["figures"].tobytes())
        assign(variables, [stored[f"variable{index}"] for index in range(len(variables))])
        best = [stored[f"best{index}"] for index in range(sum(name.startswith("best") for name in stored.files))]
    return TrainingState(best_weights=best, **figures)
