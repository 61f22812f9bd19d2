"""The training loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dermrobust.components.progress import Task
from dermrobust.components.train import checkpoint
from dermrobust.components.train.averaging import WeightAverage
from dermrobust.components.train.checkpoint import TrainingState
from dermrobust.components.train.component import TrainParams
from dermrobust.components.train.data import TrainingData
from dermrobust.components.train.step import StepFn, compiled_step
from dermrobust.components.train.stopping import score_name, stopped_by


@dataclass(frozen=True)
class Training:
    """What one training needs beside its parameters.

    Attributes:
        network: to be trained, in place.
        data: the training images.
        validate: returns figures on the validation images, `balanced_accuracy` among them; for an adversarial objective
            also `robust_accuracy` and `robust_balanced_accuracy`.
        class_weights: float32 [class_count].
        logs: folder for TensorBoard.
        checkpoint_file: where an interrupted training goes on.
    """

    network: keras.Model
    data: TrainingData
    validate: Callable[[], dict[str, float]]
    class_weights: np.ndarray[Any, np.dtype[np.float32]]
    logs: Path
    checkpoint_file: Path


def schedule(params: TrainParams, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Return the learning rate over all steps: a linear rise, then a cosine to zero."""
    warmup = round(params.warmup_epochs * steps)
    return keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else params.learning_rate,
        decay_steps=max(1, params.epochs * steps - warmup),
        warmup_target=params.learning_rate if warmup else None,
        warmup_steps=warmup,
    )


def train(training: Training, params: TrainParams, task: Task) -> TrainingState:
    """Train until `stopped_by` gives a reason; leave the network at its best epoch.

    The best epoch is that of the highest validation balanced accuracy, the robust one for an adversarial objective.

    Raises:
        FloatingPointError: the loss is no longer finite.
    """
    optimizer = keras.optimizers.AdamW(schedule(params, training.data.steps), weight_decay=params.weight_decay)
    optimizer.build(training.network.trainable_variables)
    average = WeightAverage(training.network, params.weight_averaging)
    step = compiled_step(
        training.network,
        params.objective,
        optimizer,
        training.class_weights,
        average=average,
        weight_perturbation=params.weight_perturbation,
        xla=params.xla,
    )
    moving = [*training.network.variables, *optimizer.variables, *average.variables, average.updates]
    state = checkpoint.restore(training.checkpoint_file, moving)
    task.advance(state.epoch * training.data.steps)
    writer = tf.summary.create_file_writer(str(training.logs))
    while stopped_by(state, params) is None:
        loss = _run_epoch(training, params, step, state.epoch, task)
        with average.in_place():
            validated = {f"validation_{name}": value for name, value in training.validate().items()}
            figures = {"loss": loss, **validated}
            _record(state, figures, figures[score_name(params)], training.network)
        with writer.as_default(step=state.epoch):
            for name, value in figures.items():
                tf.summary.scalar(name, value)
        checkpoint.save(training.checkpoint_file, state, moving)
    writer.close()
    checkpoint.assign(training.network.variables, state.best_weights)
    return state


def _run_epoch(training: Training, params: TrainParams, step: StepFn, epoch: int, task: Task) -> float:
    """Return the mean loss of an epoch; it is fetched once, so that no step waits for it."""
    total, steps = tf.zeros(()), training.data.steps
    for index, (images, labels) in enumerate(training.data.epoch(epoch)):
        done = epoch * steps + index
        # As a tensor, so that a budget that rises does not trace the step anew.
        radius = tf.constant(params.objective.radius(done / steps), tf.float32)
        total += step(images, labels, radius, tf.constant([params.seed, done], tf.int32))
        task.advance()
    loss = float(total) / steps
    if not np.isfinite(loss):
        raise FloatingPointError(f"train: the loss is {loss} in epoch {epoch + 1}; a smaller learning_rate may help")
    task.note(f"loss {loss:.3f}")
    return loss


def _record(state: TrainingState, figures: dict[str, float], score: float, network: keras.Model) -> None:
    state.epoch += 1
    state.history.append({"epoch": state.epoch, **figures})
    if score > state.best_score:
        state.best_epoch, state.best_score = state.epoch, score
        state.best_weights = checkpoint.network_weights(network)
