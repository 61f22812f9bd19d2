"""Optimizers of training: AdamW, with a learning rate of its own for pretrained layers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf
from keras.optimizers.schedules import LearningRateSchedule

from dermrobust.components.train.component import TrainParams
from dermrobust.models.networks.network import HEAD


@dataclass(frozen=True)
class SplitOptimizer:
    """Optimizers of which each updates some of a network's trainable variables.

    Attributes:
        parts: Each optimizer, built, with its variables.
        gradient_clip: Largest norm of the gradient of all variables together; None: no limit.
    """

    parts: Sequence[tuple[keras.optimizers.Optimizer, Sequence[keras.Variable]]]
    gradient_clip: float | None = None

    @property
    def variables(self) -> list[keras.Variable]:
        """Variables of all optimizers, always in the same order."""
        return [variable for optimizer, _ in self.parts for variable in optimizer.variables]

    def apply_gradients(self, gradients: Iterable[tuple[tf.Tensor, keras.Variable]]) -> None:
        """Update all variables by their gradients, given as pairs."""
        pairs = list(gradients)
        values = [gradient for gradient, _ in pairs]
        if self.gradient_clip is not None:
            values, _ = tf.clip_by_global_norm(values, self.gradient_clip)
        by_id = {id(variable): value for value, (_, variable) in zip(values, pairs, strict=True)}
        for optimizer, owned in self.parts:
            optimizer.apply_gradients([(by_id[id(variable)], variable) for variable in owned])


def built_optimizer(
    network: keras.Model, params: TrainParams, steps: int
) -> keras.optimizers.Optimizer | SplitOptimizer:
    """Return the optimizer of a network for epochs of so many steps, with its variables."""
    variables = network.trainable_variables
    if params.backbone_learning_rate == 1.0 and params.head_epochs == 0:
        return _adamw(schedule(params, steps), params, variables, params.gradient_clip)
    own = {id(variable) for variable in network.get_layer(HEAD).trainable_variables}
    head = [variable for variable in variables if id(variable) in own]
    backbone = [variable for variable in variables if id(variable) not in own]
    return SplitOptimizer(
        (
            (_adamw(schedule(params, steps), params, head), head),
            (_adamw(_backbone_schedule(params, steps), params, backbone), backbone),
        ),
        params.gradient_clip,
    )


def _adamw(
    rate: LearningRateSchedule,
    params: TrainParams,
    variables: Sequence[keras.Variable],
    gradient_clip: float | None = None,
) -> keras.optimizers.Optimizer:
    optimizer = keras.optimizers.AdamW(rate, weight_decay=params.weight_decay, global_clipnorm=gradient_clip)
    # Built now, so that its variables exist when a checkpoint is restored.
    optimizer.build(variables)
    return optimizer


def schedule(
    params: TrainParams, steps: int, *, epochs: int | None = None, factor: float = 1.0
) -> LearningRateSchedule:
    """Return the learning rate over epochs of so many steps: a linear rise, then a cosine to zero."""
    warmup = round(params.warmup_epochs * steps)
    total = (params.epochs if epochs is None else epochs) * steps
    return _WarmupCosine(params.learning_rate * factor, warmup, total - warmup)


def _backbone_schedule(params: TrainParams, steps: int) -> LearningRateSchedule:
    """Return the learning rate of pretrained layers: zero in the first epochs, then that of the head times a factor."""
    rest = schedule(params, steps, epochs=params.epochs - params.head_epochs, factor=params.backbone_learning_rate)
    return _Delayed(rest, params.head_epochs * steps)


class _WarmupCosine(LearningRateSchedule):
    """Linear rise, then a cosine to zero (Loshchilov & Hutter 2017, arXiv 1608.03983): the values of `CosineDecay`.

    An optimizer of Keras evaluates the schedule once for each variable that decays, and `CosineDecay` adds a
    conditional to the graph each time; this one has no control flow.
    """

    def __init__(self, peak: float, warmup_steps: int, decay_steps: int) -> None:
        """Rise to `peak` in the warm-up, and decay over the steps after it; each number of steps may be 0."""
        self._peak, self._warmup, self._decay = peak, warmup_steps, decay_steps

    def __call__(self, step: Any) -> Any:
        done = tf.cast(step, tf.float32)
        rise = done / max(1, self._warmup)
        passed = tf.minimum((done - self._warmup) / max(1, self._decay), 1.0)
        return self._peak * tf.where(done < self._warmup, rise, 0.5 * (1.0 + tf.cos(math.pi * passed)))

    def get_config(self) -> dict[str, Any]:
        return {"peak": self._peak, "warmup_steps": self._warmup, "decay_steps": self._decay}


class _Delayed(LearningRateSchedule):
    """Schedule that begins after some steps, and is zero until then."""

    def __init__(self, later: LearningRateSchedule, delay: int) -> None:
        self._later, self._delay = later, delay

    def __call__(self, step: Any) -> Any:
        waited = tf.cast(step, tf.int64) - self._delay
        return tf.where(waited < 0, 0.0, self._later(tf.maximum(waited, 0)))

    def get_config(self) -> dict[str, Any]:
        return {"later": self._later.get_config(), "delay": self._delay}
