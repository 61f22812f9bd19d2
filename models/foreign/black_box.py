"""Models of which only the answers are available: ONNX files, and models behind TensorFlow Serving's REST interface."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from dermrobust.attacks.errors import UserError
from dermrobust.attacks.target import Target
from dermrobust.attacks.threat import Images
from dermrobust.models.foreign.declared import check_regular
from dermrobust.models.foreign.onnx_models import onnx_answers, read_onnx
from dermrobust.models.foreign.outputs import as_logits
from dermrobust.models.foreign.rest import read_rest, rest_answers
from dermrobust.models.foreign.spec import Endpoint, ForeignSpec, is_url
from dermrobust.models.image_size import LARGEST, height_and_width

Answers = Callable[[Images], npt.NDArray[np.float32]]
"""Images float32 [count, height, width, 3], in the model's own range, to scores float32 [count, class_count]."""

UPPER_BOUND = (
    "only the model's answers are available: robust accuracy is an upper bound, and an attacker who has the model may "
    "break more images"
)


def read_endpoint(location: Path | str, signature: str | None, classes: int | None) -> Endpoint:
    """Return what a model declares about its input and output.

    Args:
        location: an ONNX file, or an address such as http://127.0.0.1:8501/v1/models/NAME.
        signature: name of the signature of a served model; None: the first that takes images.
        classes: number of classes, needed for a model that returns class indices; None: not known yet.

    Raises:
        UserError: the model cannot be reached or read, or takes no images.
    """
    if isinstance(location, str) and is_url(location):
        endpoint = read_rest(location, signature, classes)
    else:
        check_regular(Path(location))
        endpoint = read_onnx(Path(location).read_bytes(), str(location))
    if endpoint.image_size is not None and not all(
        1 <= side <= LARGEST for side in height_and_width(endpoint.image_size)
    ):
        raise UserError(f"'{location}' states an image size that is not from 1 to {LARGEST} pixels a side")
    return endpoint


def answers_of(endpoint: Endpoint, content: bytes | None) -> Answers:
    """Return the function that asks a model; `content` is that of an ONNX file."""
    return rest_answers(endpoint) if content is None else onnx_answers(content, endpoint)


def as_function(answers: Answers, class_count: int) -> Callable[[Any], Any]:
    """Return answers as a TensorFlow function of images, through which no gradient passes."""

    def outputs(images: Any) -> Any:
        found = tf.numpy_function(answers, [tf.cast(images, tf.float32)], tf.float32)
        return tf.ensure_shape(found, [None, class_count])

    return outputs


def black_box_target(spec: ForeignSpec, content: bytes | None) -> Target:
    """Return the target of an adopted black box, from images in [0, 1] to logits; see `answers_of`."""
    if spec.endpoint is None:
        raise ValueError("the spec is of a model that is no black box")
    outputs = as_function(answers_of(spec.endpoint, content), spec.endpoint.outputs)

    def logits(weights: Sequence[Any], images: Any) -> Any:
        del weights
        return as_logits(outputs(spec.input.scaled(images)), spec.outputs)

    return Target(logits, ())
