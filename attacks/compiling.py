"""Compilation of attack steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from dermrobust.attacks.logits import in_scope
from dermrobust.attacks.stepping import StepFn

Shape = tuple[int, ...]
"""Shape of one image: (height, width, 3)."""

_OWN_PROGRAM = 128
"""Smallest batch that gets a program for its size. It is 7 % faster than one for any size, because without the size
gradients of sums are also reduced over dimensions that might have been broadcast. Smaller batches share one program:
they occur in many sizes while an attack ends, and tracing takes longer than it saves."""


def per_image(shape: Sequence[int | None], dtype: Any = tf.float32) -> tf.TensorSpec:
    """Return the spec of a tensor with a row for each image, for batches of any size."""
    return tf.TensorSpec([None, *shape], dtype)


def scalars(count: int) -> list[tf.TensorSpec]:
    """Return the specs of scalar float32 constants."""
    return [tf.TensorSpec([], tf.float32)] * count


def compile_step(
    body: Callable[..., Any], state: Sequence[tf.TensorSpec], shape: Shape, constants: Sequence[tf.TensorSpec]
) -> StepFn:
    """Return the step of an attack, compiled when it is first called.

    Weights, budgets and step sizes are arguments of the program, so all models of an architecture and all budgets
    share it.

    Args:
        body: (weights, clean, classes, iteration, stop, state, *constants) -> (state, done); see `StepFn`.
        state: specs of the state's tensors.
        shape: shape of one image.
        constants: specs of the tensors that the body takes after the state, such as the budget.
    """
    # No autograph: bodies have no control flow that depends on tensors, and rewriting their source takes time.
    function = tf.function(in_scope(body), autograph=False)
    compiled: dict[int | None, Any] = {}

    def step(weights: Sequence[Any], clean: tf.Tensor, *arguments: Any) -> Any:
        size = clean.shape[0] if clean.shape[0] >= _OWN_PROGRAM else None
        if size not in compiled:
            specs = tuple(tf.TensorSpec(weight.shape, weight.dtype) for weight in weights)
            batches = [per_image(shape), per_image((), tf.int64), per_image((), tf.int32), *state]
            images, classes, iteration, *rest = (tf.TensorSpec([size, *spec.shape[1:]], spec.dtype) for spec in batches)
            stop = tf.TensorSpec([], tf.bool)
            # A concrete function never retraces, whatever Python values it is called with.
            compiled[size] = function.get_concrete_function(
                specs, images, classes, iteration, stop, tuple(rest), *constants
            )
        return compiled[size](tuple(weights), clean, *arguments)

    return step


def over_pixels(values: tf.Tensor) -> tf.Tensor:
    """Return a value for each image, [batch], in the shape that combines with images: [batch, 1, 1, 1]."""
    return tf.reshape(values, [-1, 1, 1, 1])
