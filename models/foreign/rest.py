"""Models behind TensorFlow Serving's REST interface."""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from dermrobust.attacks.errors import UserError
from dermrobust.attacks.threat import PIXEL_LEVELS, Images
from dermrobust.models.foreign.spec import Endpoint
from dermrobust.models.image_size import size_of

_DEFAULT = "serving_default"
_SECONDS = 60.0
_TRIES = 6
_BYTES = 8_000_000
"""About how large a request may become; servers limit it."""
_MOST = 32
"""Images in a request."""
_DIGITS = 10
"""Characters of a number in JSON."""
_MOST_ANSWERED = 64 << 20
"""Bytes of an answer that are read; a larger one is refused."""
_PART = 1 << 16
_FLOAT, _INTEGER, _TEXT = "DT_FLOAT", "DT_INT64", "DT_STRING"
_SCORES = ("logits", "scores", "probabilities", "predictions", "output_0", "outputs")
"""Outputs that are preferred, in this order."""


def read_rest(url: str, signature: str | None, classes: int | None) -> Endpoint:
    """Return input and output of a served model, from its metadata; see `black_box.read_endpoint`.

    A signature that takes float images is preferred to one that takes image files: nothing is decoded on the way.

    Raises:
        UserError: there is no answer, or no signature takes images and returns classes.
    """
    url = url.rstrip("/")
    found = _json(f"{url}/metadata", None)
    try:
        version, declared = _signatures(found)
        names = [signature] if signature is not None else sorted(declared, key=lambda name: (name != _DEFAULT, name))
        read = [_read(url, version, name, declared[name], classes) for name in names if name in declared]
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError):
        raise UserError(f"{url}/metadata is not what TensorFlow Serving answers: no signatures") from None
    if signature is not None and signature not in declared:
        raise UserError(f"{url} has no signature '{signature}'; it has {', '.join(declared)}")
    endpoints = [each for each in read if isinstance(each, Endpoint)]
    if not endpoints:
        problems = "; ".join(str(each) for each in read) or "it has none"
        raise UserError(f"{url} has no signature that takes images and returns classes: {problems}")
    return min(endpoints, key=lambda each: each.files)


def rest_answers(endpoint: Endpoint) -> Callable[[Images], npt.NDArray[np.float32]]:
    """Return the function that asks a served model about images in its own range; files are made of those in [0, 1]."""

    def answers(images: Images) -> npt.NDArray[np.float32]:
        size = _MOST if endpoint.files else max(1, min(_MOST, _BYTES // (_DIGITS * images[0].size)))
        return np.concatenate([_asked(endpoint, images[start : start + size]) for start in range(0, len(images), size)])

    return answers


def _signatures(metadata: Any) -> tuple[str, Mapping[str, Any]]:
    """Return version and signatures of a served model.

    Raises:
        KeyError, TypeError: there is no version, or signatures without names.
    """
    version, declared = metadata["model_spec"]["version"], metadata["metadata"]["signature_def"]["signature_def"]
    if not isinstance(declared, Mapping):
        raise TypeError(declared)
    return str(version), declared


def _read(url: str, version: str, name: str, signature: Mapping[str, Any], classes: int | None) -> Endpoint | str:
    """Return a signature that classifies images, or the reason why it is none."""
    inputs, outputs = signature.get("inputs", {}), signature.get("outputs", {})
    if len(inputs) != 1:
        return f"'{name}' has {len(inputs)} inputs"
    ((given, tensor),) = inputs.items()
    shape, files = _shape(tensor), tensor["dtype"] == _TEXT
    if not (files and shape in ([None], None)) and not (tensor["dtype"] == _FLOAT and shape and len(shape) == 4):
        return f"'{name}' takes {tensor['dtype']} {shape}"
    scores = {
        key: sides for key, each in outputs.items() if each["dtype"] == _FLOAT and len(sides := _shape(each) or []) == 2
    }
    indices = [key for key, each in outputs.items() if each["dtype"] == _INTEGER and len(_shape(each) or []) == 1]
    output = min(scores, key=lambda key: (key not in _SCORES, key), default=None)
    count = (scores[output][1] if output else None) or classes
    if (output is None and not indices) or count is None:
        return f"'{name}' returns {', '.join(outputs) or 'nothing'}: neither scores nor class indices of a known number"
    size = None if files or shape is None or None in shape[1:3] else size_of(*(int(side or 0) for side in shape[1:3]))
    return Endpoint(
        url=url,
        version=version,
        signature=name,
        input=given,
        output=output or indices[0],
        outputs=int(count),
        labels_only=output is None,
        files=files,
        image_size=size,
    )


def _shape(tensor: Mapping[str, Any]) -> list[int | None] | None:
    described = tensor.get("tensor_shape", {})
    if described.get("unknown_rank"):
        return None
    sides = [int(side["size"]) for side in described.get("dim", ())]
    return [None if side < 0 else side for side in sides]


def _asked(endpoint: Endpoint, images: Images) -> npt.NDArray[np.float32]:
    instances = [{"b64": _png(image)} for image in images] if endpoint.files else images.tolist()
    body = {"signature_name": endpoint.signature, "instances": instances}
    url = f"{_versioned(endpoint)}:predict"
    found = _json(url, json.dumps(body).encode())
    try:
        rows = found["predictions"]
        # TensorFlow Serving leaves the name out where there is one output.
        values = np.asarray([row[endpoint.output] if isinstance(row, Mapping) else row for row in rows])
        if values.dtype.kind not in "iuf":
            raise TypeError
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{url} does not answer with '{endpoint.output}' for each image") from None
    if len(values) != len(images):
        raise UserError(f"{url} answered {len(values)} predictions for {len(images)} images")
    if endpoint.labels_only:
        if values.ndim != 1 or not np.isin(values, np.arange(endpoint.outputs)).all():
            raise UserError(f"{url} must answer with one class index from 0 to {endpoint.outputs - 1} for each image")
        return np.eye(endpoint.outputs, dtype=np.float32)[values.astype(np.int64)]
    # Numbers beyond float32 become infinite, and are refused below.
    with np.errstate(over="ignore"):
        scores = values.astype(np.float32)
    if scores.shape != (len(images), endpoint.outputs) or not np.isfinite(scores).all():
        raise UserError(f"{url} must answer with {endpoint.outputs} finite numbers for each image")
    return scores


def _versioned(endpoint: Endpoint) -> str:
    """Return the address of the version that was examined: a server may load another one meanwhile."""
    assert endpoint.url is not None
    named = "/versions/" in endpoint.url or "/labels/" in endpoint.url or not (endpoint.version or "").isdecimal()
    return endpoint.url if named else f"{endpoint.url}/versions/{endpoint.version}"


def _png(image: npt.NDArray[np.float32]) -> str:
    """Return an image in [0, 1] as a PNG file in base64."""
    content = io.BytesIO()
    Image.fromarray(np.clip(np.rint(image * PIXEL_LEVELS), 0, PIXEL_LEVELS).astype(np.uint8)).save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode()


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Makes an error of a redirect, which might lead to an address that the user did not name."""

    def redirect_request(self, *given: Any) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirects)


def _json(url: str, body: bytes | None) -> Any:
    """Return the JSON of an answer; a server that is busy is asked again."""
    for number in range(_TRIES):
        try:
            request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
            with _opener.open(request, timeout=_SECONDS) as answer:
                return _parsed(url, answer)
        except urllib.error.HTTPError as error:
            if error.code not in (429, 503) or number == _TRIES - 1:
                raise UserError(f"{url} answers {error.code}: {_reason(error)}") from None
        except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
            # Timeouts, refused connections and answers that are cut may pass. Wrong addresses and other JSON do not.
            final = isinstance(error, ValueError | http.client.InvalidURL | RecursionError)
            if final or number == _TRIES - 1 or body is None:
                raise UserError(f"no usable answer from {url}: {error}") from None
        time.sleep(0.2 * 2**number)
    raise AssertionError("the last try returns or raises")


def _parsed(url: str, answer: http.client.HTTPResponse) -> Any:
    parts, size, end = list[bytes](), 0, time.monotonic() + _SECONDS
    # The time limit of the socket is one for each part: a server that sends a byte now and then never exceeds it.
    while part := answer.read1(_PART):
        parts.append(part)
        size += len(part)
        if size > _MOST_ANSWERED:
            raise UserError(f"the answer from {url} is larger than {_MOST_ANSWERED >> 20} MiB")
        if time.monotonic() > end:
            raise UserError(f"the answer from {url} was not complete after {_SECONDS:g} s")
    content = b"".join(parts)
    # Unlike the whole, a limited number of bytes is read without an error if the connection ends before.
    if answer.length:
        raise http.client.IncompleteRead(content, answer.length)
    return json.loads(content)


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        text = error.read(500).decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return str(error.reason)
    with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
        text = str(json.loads(text)["error"])
    # A terminal would obey escape sequences.
    return "".join(each if each.isprintable() else " " for each in text or str(error.reason))
