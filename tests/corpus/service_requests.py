"""Bodies of requests to `dermrobust serve`, for the model of the fuzzer's requests."""

from __future__ import annotations

import base64
import json
from typing import Any

from tests.corpus.case import Case, bad, good, hostile, written


def _json(**values: Any) -> Any:
    return written(json.dumps(values), "body.json")


def _text(content: str | bytes) -> Any:
    return written(content, "body.json")


def _pixels(pixels: Any) -> Any:
    return _json(signature_name="pixels", instances=[pixels])


_FILE = {"b64": base64.b64encode(b"file").decode()}
_IMAGE = [[[0.5] * 3] * 2] * 2

CASES: tuple[Case, ...] = (
    good("a file", _json(instances=[_FILE])),
    good("named inputs", _json(inputs={"image_bytes": [_FILE]})),
    good("integers for pixels", _pixels([[[0, 1, 0]] * 2] * 2)),
    good("a key that is not known", _json(instances=[_FILE], extra=1)),
    bad("empty", _text(""), "400: the body is not JSON"),
    bad("a list", _text("[]"), "400: the body must be a JSON object"),
    bad("neither instances nor inputs", _json(), "400: give either 'instances' or 'inputs'"),
    bad("instances and inputs", _json(instances=[_FILE], inputs=[_FILE]), "400: give either"),
    bad("no instance", _json(instances=[]), "400: the request holds no instance"),
    bad("text for a file", _json(instances=["file"]), "400: instance 0: send the image file as"),
    bad("no base64", _json(instances=[{"b64": "?"}]), "400: instance 0: 'b64' is not base64"),
    bad("another signature", _json(signature_name="other", instances=[_FILE]), "400: there is no signature 'other'"),
    bad("a number for a signature", _json(signature_name=3, instances=[_FILE]), "400: 'signature_name' must be a text"),
    bad("another shape", _pixels([[0.5]]), "400: an instance has shape"),
    bad("rows of two lengths", _pixels([[[0.5] * 3] * 2, [[0.5] * 3]]), "400: 'images' must hold numbers"),
    bad("texts for pixels", _pixels([[["1"] * 3] * 2] * 2), "400: 'images' must hold numbers"),
    bad("truth values for pixels", _pixels([[[True] * 3] * 2] * 2), "400: 'images' must hold numbers"),
    bad("null for a pixel", _pixels([[[None] * 3] * 2] * 2), "400: 'images' must hold numbers"),
    bad("NaN", _text(json.dumps({"instances": [float("nan")]})), "400: the body is not JSON: NaN"),
    bad("numbers beyond float32", _pixels([[[1e300] * 3] * 2] * 2), "400: 'images' holds values that are not finite"),
    hostile("an integer of 400 digits", _pixels([[[10**400] * 3] * 2] * 2), "400: 'images' must hold numbers"),
    hostile("an integer of 5,000 digits", _text('{"instances": [1' + "0" * 5000 + "]}"), "400: the body is not JSON"),
    hostile(
        "half a surrogate pair", _text('{"signature_name": "\\ud800", "instances": [1]}'), "400: there is no signature"
    ),
    hostile("a name of 1,000,000 letters", _json(signature_name="x" * 10**6, instances=[_FILE]), r"400: .{,200}$"),
    hostile("nested 100,000 times", _text("[" * 100_000), "400: the body is not JSON"),
    hostile(
        "pixels nested 900 times",
        _text('{"signature_name": "pixels", "instances": ' + "[" * 900 + "]" * 900 + "}"),
        "400: ",
    ),
    hostile("a body of 33 MB", _text(b" " * 33_000_000), "413: the request is larger than"),
    hostile("65 images", _json(instances=[_FILE] * 65), "400: 65 instances; at most 64"),
)
