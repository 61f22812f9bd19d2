"""Outputs of foreign models: their kind, and logits made of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras import ops

from dermrobust.attacks.errors import UserError
from dermrobust.attacks.threat import Images
from dermrobust.attacks.validation import are_probabilities
from dermrobust.models.foreign.spec import OutputKind

LEAST_PROBABILITY = 1e-30
"""Lower bound of probabilities, so that their logarithm and its gradient stay finite in float32."""

MASKS_GRADIENTS = (
    "the outputs are probabilities, and the logits behind them are not accessible: attacks use their logarithm, whose "
    "gradient vanishes where the model is certain. Robustness may be overestimated; export a model that returns logits"
)

NO_GRADIENT = (
    "no gradient reaches the model's input: a layer between them cannot be differentiated, such as rounding, a cast to "
    "integers, argmax or one-hot. Attacks by its own gradients break nothing; escalated attacks replace that layer's "
    "gradient, and the self-check of gradients fails"
)

Outputs = npt.NDArray[np.float32]
"""float32 [count, class_count], or [count, 1] for two classes."""


def as_logits(outputs: Any, kind: OutputKind) -> Any:
    """Return logits [count, class_count] of outputs (tensors, symbolic or not); one output becomes two logits [0, z].

    Exact for logits. Probabilities p become log p, and a single one log p - log (1 - p), whose softmax is p again.
    """
    if outputs.shape[-1] == 1:
        scores = outputs if kind is OutputKind.LOGITS else _log(outputs) - _log(1.0 - outputs)
        return ops.pad(scores, [[0, 0], [1, 0]])
    return outputs if kind is OutputKind.LOGITS else _log(outputs)


def _log(probabilities: Any) -> Any:
    return ops.log(ops.clip(probabilities, LEAST_PROBABILITY, 1.0))


def kind_of(outputs: Outputs) -> OutputKind:
    """Return the kind of outputs: probabilities lie in [0, 1] and add up to 1 in every row."""
    if outputs.shape[1] == 1:
        inside = outputs.min() >= 0.0 and outputs.max() <= 1.0
        return OutputKind.PROBABILITIES if inside else OutputKind.LOGITS
    return OutputKind.PROBABILITIES if are_probabilities(outputs) else OutputKind.LOGITS


def class_count(outputs: int) -> int:
    """Return the number of classes of so many outputs: one output distinguishes two."""
    return max(outputs, 2)


def is_differentiable(outputs: Any, images: Images) -> bool:
    """Return whether a gradient reaches the images of a model; it may be zero, which self-checks detect.

    Args:
        outputs: Function from images to outputs.
        images: float32 [count, height, width, 3] in the model's own range.

    Raises:
        UserError: The model fails.
    """
    tensor = tf.constant(images)
    try:
        with tf.GradientTape() as tape:
            tape.watch(tensor)
            total = tf.reduce_sum(tf.cast(outputs(tensor), tf.float32) ** 2)
        return tape.gradient(total, tensor) is not None
    except tf.errors.OpError as error:
        first = error.message.strip().splitlines()[0] if error.message else type(error).__name__
        raise UserError(f"the model cannot compute outputs of images: {first}") from error
    except LookupError:
        # An operation for which TensorFlow has no gradient.
        return False
