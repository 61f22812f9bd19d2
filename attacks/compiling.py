"""Steps compiled once: for full batches and for all smaller ones, shared by all models of an architecture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from dermrobust.attacks.stepping import StepFn

Shape = tuple[int, ...]
"""Of one image: (height, width, 3)."""


_OF_ITS_OWN = 128
"""Batches of so many images or more get a program for their size, which is 7 % faster than one for any size: without
the size, gradients of sums are reduced over dimensions that might have been broadcast."""


def per_image(shape: Sequence[int | None], dtype: Any = tf.float32) -> tf.TensorSpec:
    """Return what a tensor with a row for each image of a batch of any size looks like."""
    return tf.TensorSpec([None, *shape], dtype)


def scalars(count: int) -> list[tf.TensorSpec]:
    """Return what so many scalar constants look like."""
    return [tf.TensorSpec([], tf.float32)] * count


def compile_step(
    body: Callable[..., Any], state: Sequence[tf.TensorSpec], shape: Shape, constants: Sequence[tf.TensorSpec]
) -> StepFn:
    """Compile the step of an attack when it is first called.

    Args:
        body: (weights, clean, classes, iteration, stop, state, *constants) -> (state, done); see `StepFn`.
        state: what the state's tensors look like.
        shape: of one image.
        constants: what the tensors look like that the body takes after the state, such as the budget.

    Returns:
        The step, which takes the constants after the state.
    """
    function = tf.function(body, autograph=False)
    compiled: dict[int | None, Any] = {}

    def step(weights: Sequence[Any], clean: tf.Tensor, *arguments: Any) -> Any:
        size = clean.shape[0] if clean.shape[0] >= _OF_ITS_OWN else None
        if size not in compiled:
            specs = tuple(tf.TensorSpec(weight.shape, weight.dtype) for weight in weights)
            batches = [per_image(shape), per_image((), tf.int64), per_image((), tf.int32), *state]
            images, classes, iteration, *rest = (tf.TensorSpec([size, *spec.shape[1:]], spec.dtype) for spec in batches)
            stop = tf.TensorSpec([], tf.bool)
            compiled[size] = function.get_concrete_function(
                specs, images, classes, iteration, stop, tuple(rest), *constants
            )
        return compiled[size](tuple(weights), clean, *arguments)

    return step
