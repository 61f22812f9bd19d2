"""Compiled evaluation of transformed images: the attacker's loss, and its gradient by parameters and content."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from dermrobust.attacks import losses
from dermrobust.attacks.compiling import Shape, per_image
from dermrobust.attacks.logits import finite, in_scope
from dermrobust.attacks.problem import Labels
from dermrobust.attacks.target import LogitsFn, Target
from dermrobust.attacks.threat import Images
from dermrobust.attacks.transforms.threat import TransformThreat
from dermrobust.attacks.transforms.transform import Content, Transform, Values

State = tuple[Values, Content]
"""Parameters and content of each image."""


def losses_of(target: Target, threat: TransformThreat, images: Images, labels: Labels, state: State, size: int) -> Any:
    """Return the margin of each transformed image by which the attack succeeds: float32 [count].

    The largest wrong logit minus that of the true class; above 0 where the classifier errs.

    Args:
        target: classifier.
        threat: threat model.
        images: float32 [count, height, width, 3], the clean images.
        labels: int64 [count].
        state: parameters and content.
        size: number of images in a call.
    """
    return _evaluated(target, threat, images, labels, state, size, gradient=False)[0]


def gradients_of(
    target: Target, threat: TransformThreat, images: Images, labels: Labels, state: State, size: int
) -> tuple[Any, Values, Content]:
    """Return margins, and their gradients by parameters and by content; see `losses_of`."""
    loss, by_values, by_content = _evaluated(target, threat, images, labels, state, size, gradient=True)
    return loss, by_values, by_content


def _evaluated(
    target: Target,
    threat: TransformThreat,
    images: Images,
    labels: Labels,
    state: State,
    size: int,
    *,
    gradient: bool,
) -> list[Any]:
    transform, shape = threat.transform, images.shape[1:]
    weights = tuple(target.weights)
    specs = tuple(tf.TensorSpec(weight.shape, weight.dtype) for weight in weights)
    evaluate = _compiled(target.logits, specs, transform, shape, gradient)
    strength = tf.constant(threat.strength, tf.float32)
    parts = []
    for start in range(0, len(images), size):
        part = slice(start, start + size)
        arrays = (images[part], labels[part], *(array[part] for array in state))
        parts.append([tensor.numpy() for tensor in evaluate(weights, *map(tf.constant, arrays), strength)])
    return [np.concatenate(columns) for columns in zip(*parts, strict=True)]


# Bounded, because the cache keeps traced programs alive. One program for batches of any size, any strength and all
# models of an architecture.
@functools.lru_cache(maxsize=32)
def _compiled(
    logits: LogitsFn, weights: Sequence[tf.TensorSpec], transform: Transform, shape: Shape, gradient: bool
) -> Callable[..., Any]:
    def margins(weights: Any, images: Any, labels: Any, values: Any, content: Any, strength: Any) -> Any:
        moved = transform.apply(images, values, content, strength)
        return losses.margin(finite(logits(weights, moved)), labels, labels)

    def evaluate(weights: Any, images: Any, labels: Any, values: Any, content: Any, strength: Any) -> Any:
        if not gradient:
            return [margins(weights, images, labels, values, content, strength)]
        with tf.GradientTape() as tape:
            tape.watch([values, content])
            loss = margins(weights, images, labels, values, content, strength)
        # The place of a patch, and the content of what has none, do not change the loss.
        zero = tf.UnconnectedGradients.ZERO
        return [loss, *tape.gradient(loss, [values, content], unconnected_gradients=zero)]

    content = shape if transform.has_content else (0,)
    specs = [per_image(shape), per_image((), tf.int64), per_image((len(transform.parameters),)), per_image(content)]
    function = tf.function(in_scope(evaluate), autograph=False)
    concrete: Callable[..., Any] = function.get_concrete_function(weights, *specs, tf.TensorSpec([], tf.float32))
    return concrete
