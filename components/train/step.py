"""Compiled training step."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dermrobust.components.train.averaging import WeightAverage
from dermrobust.components.train.distillation import Teacher
from dermrobust.components.train.optimizers import SplitOptimizer
from dermrobust.components.train.weight_perturbation import perturbed_weights
from dermrobust.models.objectives.objective import Objective

StepFn = Callable[[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]
"""(images float32 [batch, height, width, 3] in [0, 1], labels int64 [batch], radius float32, seed int32 [2]) -> loss;
radius and seed as `Objective.craft` takes them."""


def compiled_step(
    network: keras.Model,
    objective: Objective,
    optimizer: keras.optimizers.Optimizer | SplitOptimizer,
    class_weights: np.ndarray[Any, np.dtype[np.float32]],
    *,
    average: WeightAverage | None = None,
    teacher: Teacher | None = None,
    class_budgets: np.ndarray[Any, np.dtype[np.float32]] | None = None,
    weight_perturbation: float = 0.0,
    xla: bool = True,
) -> StepFn:
    """Return a function that trains a network for one step; it is compiled once for each batch size.

    Crafting is a graph of its own. A tape that saw it would keep every intermediate result; and under XLA it would take
    seven to ten times as long, because on CPUs XLA runs convolutions inside of loops slowly (TensorFlow 2.21).

    Args:
        network: Network to train, in place.
        objective: Loss, and how adversarial images are crafted.
        optimizer: keras.optimizers.Optimizer | SplitOptimizer, built for the trainable variables of the network.
        class_weights: Weight of each class, float32 [class_count].
        average: Moving average, updated after the step.
        teacher: Softens the labels of the loss; crafting keeps the labels.
        class_budgets: Factor of the budget of each class, float32 [class_count]; None: the same budget for all.
        weight_perturbation: `gamma` of `perturbed_weights`; 0 disables it.
        xla: Compile the loss, its gradient and the update with XLA.
    """
    weights = tf.constant(class_weights)
    variables = network.trainable_variables

    craft = _crafter(network, objective, class_budgets)

    # Without autograph: there is no Python control flow to convert, and converting costs tracing time.
    @tf.function(autograph=False)
    def soften(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return labels if teacher is None else teacher.soften(images, labels)

    @tf.function(jit_compile=xla, autograph=False)
    def learn(images: tf.Tensor, adversarial: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        def loss() -> tf.Tensor:
            return objective.loss(network, images, adversarial, labels, weights, seed)

        # The gradient is taken at the perturbed weights; the context moves them back before the update.
        moved = perturbed_weights(network, loss, weight_perturbation) if weight_perturbation else None
        with moved or contextlib.nullcontext():
            with tf.GradientTape() as tape:
                value = loss()
            gradients = tape.gradient(value, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        if average is not None:
            average.update()
        return value

    def step(images: tf.Tensor, labels: tf.Tensor, radius: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        return learn(images, craft(images, labels, radius, seed), soften(images, labels), seed)

    return step


def _crafter(
    network: keras.Model, objective: Objective, class_budgets: np.ndarray[Any, np.dtype[np.float32]] | None
) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]:
    """Return (images, labels, radius, seed) -> the adversarial images of the loss, see `StepFn`."""

    @tf.function(autograph=False)
    def craft(images: tf.Tensor, labels: tf.Tensor, radius: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        if class_budgets is not None:
            # [batch, 1, 1, 1]: a budget of its own for each image.
            radius *= tf.gather(tf.constant(class_budgets), labels)[:, None, None, None]
        return objective.craft(network, images, labels, radius, seed)

    return craft
