"""Requests and answers of TensorFlow Serving's REST interface, as JSON values."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

DEFAULT_SIGNATURE = "serving_default"
_BYTES = "b64"
"""Key of an object that stands for bytes."""
_SHOWN = 60
"""Characters of a client's text in a message."""


class BadRequest(Exception):
    """A request that the client must change; the message says how."""


@dataclass(frozen=True)
class Signature:
    """Input of a signature.

    Attributes:
        name: name of the signature.
        input: name of its only input.
        shape: shape of one instance; () for image files.
        encoded: whether instances are image files.
    """

    name: str
    input: str
    shape: tuple[int, ...]
    encoded: bool


@dataclass(frozen=True)
class PredictRequest:
    """A parsed request.

    Attributes:
        signature: the signature that it names.
        values: one value for each instance: object [n] of bytes, or float32 [n, *shape].
        by_row: whether the answer is a list with an object for each instance, as the request was.
    """

    signature: Signature
    values: npt.NDArray[Any]
    by_row: bool


def parse_request(body: Any, signatures: Mapping[str, Signature], most: int) -> PredictRequest:
    """Return the request that a JSON body holds.

    Args:
        body: parsed JSON.
        signatures: signatures of the model by name.
        most: largest number of instances.

    Raises:
        BadRequest: the body does not fit the model.
    """
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object with 'instances' or 'inputs'")
    name = body.get("signature_name") or DEFAULT_SIGNATURE
    if not isinstance(name, str):
        raise BadRequest("'signature_name' must be a text")
    if name not in signatures:
        # A client chooses the name: it may be long, or hold halves of surrogate pairs, which are no UTF-8.
        raise BadRequest(f"there is no signature {name[:_SHOWN]!a}; there are: {', '.join(signatures)}")
    signature = signatures[name]
    if ("instances" in body) == ("inputs" in body):
        raise BadRequest("give either 'instances' or 'inputs'")
    by_row = "instances" in body
    rows = _rows(body["instances"], signature) if by_row else _columns(body["inputs"], signature)
    if not rows:
        raise BadRequest("the request holds no instance")
    if len(rows) > most:
        raise BadRequest(f"{len(rows)} instances; at most {most} are answered at once")
    return PredictRequest(signature, _values(rows, signature), by_row)


def _rows(instances: Any, signature: Signature) -> list[Any]:
    if not isinstance(instances, list):
        raise BadRequest("'instances' must be a list")
    return [_named(each, signature) for each in instances]


def _columns(inputs: Any, signature: Signature) -> list[Any]:
    column = _named(inputs, signature)
    if not isinstance(column, list):
        raise BadRequest(f"'inputs' must hold a list of values for '{signature.input}'")
    return column


def _named(value: Any, signature: Signature) -> Any:
    """Return a value that may stand under the name of the input."""
    if isinstance(value, dict) and set(value) != {_BYTES}:
        if set(value) != {signature.input}:
            raise BadRequest(f"signature '{signature.name}' has the one input '{signature.input}'")
        return value[signature.input]
    return value


def _values(rows: Sequence[Any], signature: Signature) -> npt.NDArray[Any]:
    if signature.encoded:
        values = np.empty(len(rows), object)
        values[:] = [_bytes(row, index) for index, row in enumerate(rows)]
        return values
    try:
        numbers = np.asarray(rows)
    except (TypeError, ValueError, RecursionError):
        # Rows of different lengths.
        numbers = np.empty(0, object)
    # NumPy would also take texts and truth values for numbers; integers beyond 64 bits are objects to it.
    if numbers.dtype.kind not in "iuf":
        raise BadRequest(f"'{signature.input}' must hold numbers, {list(signature.shape)} for each instance")
    if numbers.shape[1:] != signature.shape:
        raise BadRequest(f"an instance has shape {list(numbers.shape[1:])}, not {list(signature.shape)}")
    # Numbers beyond float32 become infinite.
    with np.errstate(over="ignore"):
        found = numbers.astype(np.float32)
    if not np.isfinite(found).all():
        raise BadRequest(f"'{signature.input}' holds values that are not finite")
    return found


def _bytes(value: Any, index: int) -> bytes:
    if not isinstance(value, dict) or set(value) != {_BYTES} or not isinstance(value[_BYTES], str):
        raise BadRequest(f'instance {index}: send the image file as {{"{_BYTES}": "..."}}')
    try:
        return base64.b64decode(value[_BYTES], validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest(f"instance {index}: '{_BYTES}' is not base64") from None


def answer(request: PredictRequest, outputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    """Return the outputs of a model as the JSON values of an answer.

    Raises:
        BadRequest: an image could not be used; the message says which and why.
    """
    statuses = [_text(status) for status in outputs.get("status", ())]
    bad = [f"instance {index}: {status}" for index, status in enumerate(statuses) if status != "ok"]
    if bad:
        raise BadRequest("; ".join(bad))
    columns = {name: [_text(each) for each in values.tolist()] for name, values in outputs.items()}
    if not request.by_row:
        return {"outputs": columns}
    names = list(columns)
    return {"predictions": [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]}


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value
