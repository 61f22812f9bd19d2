"""ONNX files, run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from dermrobust.attacks.errors import UserError
from dermrobust.attacks.threat import Images
from dermrobust.models.foreign.spec import Endpoint
from dermrobust.models.image_size import size_of

_FLOAT = "tensor(float)"


def read_onnx(content: bytes, name: str) -> Endpoint:
    """Return input and output of an ONNX file.

    Args:
        content: content of the file.
        name: name of the file for messages.

    Raises:
        UserError: onnxruntime is not installed, the file cannot be read, or it does not take images and return scores.
    """
    session = _session(content, name)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or inputs[0].type != _FLOAT or len(inputs[0].shape) != 4:
        raise UserError(f"'{name}' must have one input, float images of 4 dimensions; found {_described(inputs)}")
    shape = [side if isinstance(side, int) else None for side in inputs[0].shape]
    # Files that come from PyTorch have their channels first.
    channels_first = shape[1] == 3 and shape[3] != 3
    height, width = shape[2:] if channels_first else shape[1:3]
    if not channels_first and shape[3] != 3:
        raise UserError(f"'{name}' takes {inputs[0].shape}; color images with 3 channels are needed")
    scores = [each for each in outputs if each.type == _FLOAT and len(each.shape) == 2]
    if not scores or not isinstance(scores[0].shape[1], int):
        raise UserError(f"'{name}' returns no scores [batch, classes]; found {_described(outputs)}")
    return Endpoint(
        input=inputs[0].name,
        output=scores[0].name,
        outputs=scores[0].shape[1],
        image_size=None if height is None or width is None else size_of(height, width),
        batch=shape[0],
        channels_first=channels_first,
    )


def onnx_answers(content: bytes, endpoint: Endpoint) -> Callable[[Images], npt.NDArray[np.float32]]:
    """Return the function that runs an ONNX file on images in its own range."""
    session = _session(content, "model.onnx")

    def answers(images: Images) -> npt.NDArray[np.float32]:
        given = images.transpose(0, 3, 1, 2) if endpoint.channels_first else images
        size = endpoint.batch or len(given)
        parts = []
        for start in range(0, len(given), size):
            batch = given[start : start + size]
            # A file with a fixed batch size takes no smaller batch.
            filled = np.ascontiguousarray(batch[np.arange(size) % len(batch)])
            parts.append(_run(session, endpoint, filled)[: len(batch)])
        return np.concatenate(parts)

    return answers


def _session(content: bytes, name: str) -> Any:
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise UserError("onnxruntime is missing; install it with: pip install 'dermrobust[onnx]'") from None
    try:
        # The fallback would try the same provider again, and print to stdout.
        return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"], enable_fallback=0)
    except Exception as error:  # ONNX Runtime raises many kinds without a common base.
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"'{name}' cannot be read as ONNX: {first}") from error


def _run(session: Any, endpoint: Endpoint, images: Images) -> npt.NDArray[np.float32]:
    """Return the scores of a batch: a file may state other shapes than those that it computes with."""
    try:
        (found,) = session.run([endpoint.output], {endpoint.input: images})
    except Exception as error:  # As above.
        first = str(error).strip().splitlines()[0]
        raise UserError(f"the ONNX file does not answer for images {list(images.shape)}: {first}") from error
    scores = np.asarray(found, np.float32)
    if scores.shape != (len(images), endpoint.outputs) or not np.isfinite(scores).all():
        raise UserError(f"the ONNX file must answer with {endpoint.outputs} finite numbers for each image")
    return scores


def _described(values: Any) -> str:
    return ", ".join(f"{each.name} {each.type} {each.shape}" for each in values) or "none"
