"""Checkpoints of training, from which another process or machine resumes it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

_NAME = "epoch"
_KEPT = 2
"""Number of checkpoints kept: should the newest one be damaged, one epoch is lost and not all of them."""


@dataclass
class TrainingState:
    """Progress of a training, beside the values of its variables.

    Attributes:
        epoch: Number of finished epochs.
        history: Figures of each epoch.
        best_epoch: Epoch with the best score, from 1; 0 before the first.
        best_score: Its validation balanced accuracy; with an adversarial objective, the robust one.
    """

    epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    best_score: float = -1.0


class _Serialized(tf.train.experimental.PythonState):
    """Training state in a TensorFlow checkpoint, as JSON: floats survive it exactly."""

    def __init__(self, state: TrainingState) -> None:
        self._state = state

    def serialize(self) -> bytes:
        return json.dumps(asdict(self._state)).encode()

    def deserialize(self, content: bytes) -> None:
        for name, value in json.loads(content).items():
            setattr(self._state, name, value)


class Checkpoints:
    """Checkpoints of a training in a local folder, one for each of the last epochs."""

    def __init__(
        self, folder: Path, state: TrainingState, variables: Sequence[keras.Variable], best: Sequence[tf.Variable]
    ) -> None:
        """Save to a folder and restore from it.

        Args:
            folder: Folder of the checkpoints; created by the first `save`.
            state: Progress of the training.
            variables: All variables that the next epoch depends on, always in the same order.
            best: Values of the network's variables in the best epoch.
        """
        self._folder, self._state = folder, state
        # The TensorFlow variables inside: Keras variables are not trackable, so they would be left out silently.
        self._checkpoint = tf.train.Checkpoint(
            state=_Serialized(state), variables=[variable.value for variable in variables], best=list(best)
        )
        # TensorFlow's list of checkpoints: `restore` goes by the files, and a damaged list raises UnicodeDecodeError.
        (folder / "checkpoint").unlink(missing_ok=True)
        self._manager = tf.train.CheckpointManager(
            self._checkpoint, str(folder), max_to_keep=_KEPT, checkpoint_name=_NAME
        )

    def save(self) -> None:
        """Write a checkpoint of the present state; a crash meanwhile leaves the ones before it usable."""
        self._manager.save(checkpoint_number=self._state.epoch)

    def restore(self, tell: Callable[[str], None]) -> None:
        """Set state and variables to the newest complete checkpoint; without one, leave them as they are.

        Args:
            tell: Called with a line where a checkpoint cannot be used.
        """
        # The index of a checkpoint is written last.
        found = sorted(self._folder.glob(f"{_NAME}-*.index"), key=_epoch, reverse=True)
        for index in found:
            prefix = str(index.with_suffix(""))
            if _is_complete(prefix):
                self._checkpoint.restore(prefix).assert_consumed()
                if index is not found[0]:
                    tell(f"the checkpoint of epoch {_epoch(found[0])} is damaged; resuming from epoch {_epoch(index)}")
                return
        if found:
            tell("no checkpoint is complete; starting anew")


def _epoch(index: Path) -> int:
    number = index.stem.rpartition("-")[2]
    return int(number) if number.isdecimal() else -1


def _is_complete(prefix: str) -> bool:
    """Return whether all tensors of a checkpoint can be read; TensorFlow verifies their checksums.

    Read before anything is restored: `restore` assigns variables one by one, and would leave some of them changed.
    """
    try:
        reader = tf.train.load_checkpoint(prefix)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    # TensorFlow 2.21 raises one or another, depending on where a file is damaged.
    except (tf.errors.OpError, IndexError, RuntimeError, ValueError):
        return False
    return True


def network_copies(network: keras.Model) -> list[tf.Variable]:
    """Return variables with the present values of all variables of a network, in their order."""
    return [tf.Variable(variable.value, trainable=False) for variable in network.variables]


def assign(variables: Sequence[Any], values: Sequence[Any]) -> None:
    """Set variables of Keras or TensorFlow to values."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
