"""Training loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dermrobust.components.artifacts import LOGS
from dermrobust.components.progress import Task
from dermrobust.components.train.averaging import WeightAverage
from dermrobust.components.train.checkpoint import Checkpoints, TrainingState, assign, network_copies
from dermrobust.components.train.component import TrainParams
from dermrobust.components.train.data import TrainingData
from dermrobust.components.train.distillation import Teacher
from dermrobust.components.train.event_log import EventLog
from dermrobust.components.train.logit_adjustment import adjusted
from dermrobust.components.train.optimizers import built_optimizer
from dermrobust.components.train.step import StepFn, compiled_step
from dermrobust.components.train.stopping import score_name, stopped_by
from dermrobust.components.train.work_folder import WorkFolder

_CHECKPOINTS = "checkpoints"
"""Folder below the work folder; TensorBoard events lie there as in the artifact."""


@dataclass(frozen=True)
class Training:
    """Inputs of a training beside its parameters.

    Attributes:
        network: Network to train, in place.
        data: Training images.
        validate: Returns figures on the validation images, `balanced_accuracy` among them; for an adversarial objective
            also `robust_accuracy` and `robust_balanced_accuracy`.
        class_weights: Weight of each class, float32 [class_count].
        work: Work folder; an interrupted training resumes from its checkpoints.
        tell: Called with lines for the user.
        logit_offsets: See `adjusted`; None: none.
        teacher: Trained network for `TrainParams.distillation`; None: none.
        class_budgets: See `compiled_step`.
    """

    network: keras.Model
    data: TrainingData
    validate: Callable[[], dict[str, float]]
    class_weights: np.ndarray[Any, np.dtype[np.float32]]
    work: WorkFolder
    tell: Callable[[str], None]
    logit_offsets: np.ndarray[Any, np.dtype[np.float32]] | None = None
    teacher: keras.Model | None = None
    class_budgets: np.ndarray[Any, np.dtype[np.float32]] | None = None


def train(training: Training, params: TrainParams, task: Task) -> TrainingState:
    """Train until `stopped_by` gives a reason, and set the network to its best epoch.

    The best epoch is that of the highest validation balanced accuracy, the robust one for an adversarial objective.

    Raises:
        FloatingPointError: The loss is no longer finite.
    """
    optimizer = built_optimizer(training.network, params, training.data.steps)
    average = WeightAverage(training.network, params.weight_averaging)
    teacher = None
    if training.teacher is not None:
        # With the same offsets, so that it predicts for the same frequencies of classes.
        teacher = Teacher(adjusted(training.teacher, training.logit_offsets), params.distillation)
    step = compiled_step(
        adjusted(training.network, training.logit_offsets),
        params.objective,
        optimizer,
        training.class_weights,
        average=average,
        teacher=teacher,
        class_budgets=training.class_budgets,
        weight_perturbation=params.weight_perturbation,
        xla=params.xla,
    )
    state, best = TrainingState(), network_copies(training.network)
    moving = [*training.network.variables, *optimizer.variables, *average.variables, average.updates]
    checkpoints = Checkpoints(training.work.path / _CHECKPOINTS, state, moving, best)
    checkpoints.restore(training.tell)
    task.advance(state.epoch * training.data.steps)
    log = EventLog(training.work.path / LOGS, state.history)
    while stopped_by(state, params) is None:
        loss = _run_epoch(training, params, step, state.epoch, task)
        # The averaged weights are what is kept, so they are what is validated.
        with average.in_place():
            validated = {f"validation_{name}": value for name, value in training.validate().items()}
            _record(state, {"loss": loss, **validated}, score_name(params), training.network, best)
        log.write(state.history[-1])
        checkpoints.save()
        training.work.publish()
    log.close()
    assign(training.network.variables, best)
    return state


def _run_epoch(training: Training, params: TrainParams, step: StepFn, epoch: int, task: Task) -> float:
    """Return the mean loss of an epoch."""
    # Summed as a tensor and fetched once: fetching each loss would make every step wait for the one before.
    total, steps = tf.zeros(()), training.data.steps
    for index, (images, labels) in enumerate(training.data.epoch(epoch)):
        done = epoch * steps + index
        # A tensor, because a Python float would trace the step anew whenever the budget rises.
        radius = tf.constant(params.objective.radius(done / steps), tf.float32)
        total += step(images, labels, radius, tf.constant([params.seed, done], tf.int32))
        task.advance()
    loss = float(total) / steps
    if not np.isfinite(loss):
        raise FloatingPointError(f"train: the loss is {loss} in epoch {epoch + 1}; a smaller learning_rate may help")
    task.note(f"loss {loss:.3f}")
    return loss


def _record(
    state: TrainingState, figures: dict[str, float], score: str, network: keras.Model, best: Sequence[tf.Variable]
) -> None:
    """Add the figures of an epoch to the state, and keep the network's variables if its score is the best so far."""
    state.epoch += 1
    state.history.append({"epoch": state.epoch, **figures})
    if figures[score] > state.best_score:
        state.best_epoch, state.best_score = state.epoch, figures[score]
        assign(best, [variable.value for variable in network.variables])
