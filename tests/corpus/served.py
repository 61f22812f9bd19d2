"""Answers of servers of models: folders with the HTTP answers to requests for metadata and for predictions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.fuzz_targets.served_models import served_metadata
from tests.corpus.case import Case, bad, good, hostile

_METADATA = json.dumps(served_metadata()).encode()


def answer(body: bytes | str, status: str = "200 OK", *headers: str, length: int | None = None) -> bytes:
    """An HTTP answer."""
    content = body.encode() if isinstance(body, str) else body
    size = len(content) if length is None else length
    return "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {size}", *headers, "", ""]).encode() + content


def _given(metadata: bytes, predictions: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "metadata").write_bytes(metadata)
        (folder / "predictions").write_bytes(predictions)
        return folder

    return make


def _described(content: bytes | str) -> Callable[[Path], Path]:
    return _given(answer(content), b"")


def _predicted(values: Any) -> Callable[[Path], Path]:
    text = values if isinstance(values, str) else json.dumps(values)
    return _given(answer(_METADATA), answer('{"predictions": ' + text + "}"))


def _replaced(old: str, new: str) -> Callable[[Path], Path]:
    assert old in _METADATA.decode()
    return _given(answer(_METADATA.decode().replace(old, new)), answer('{"predictions": [[0.1, 0.9]]}'))


_NO_METADATA = "/metadata is not what TensorFlow Serving answers"
_UNUSABLE = "no usable answer from "
_NO_SCORES = "does not answer with 'scores'"

_SIZE = "states an image size that is not from 1 to 1024 pixels a side"

CASES: tuple[Case, ...] = (
    good("rows of numbers", _predicted([[0.1, 0.9]])),
    good("rows by name", _predicted([{"scores": [1, 2]}])),
    bad("no JSON", _described("<html>"), _UNUSABLE),
    bad("metadata of nothing", _described("{}"), _NO_METADATA),
    bad("a list for metadata", _described("[]"), _NO_METADATA),
    bad(
        "a list of signatures",
        _described('{"model_spec": {"version": "3"}, "metadata": {"signature_def": {"signature_def": [1]}}}'),
        _NO_METADATA,
    ),
    bad("an infinite size", _replaced('"8"', "Infinity"), _NO_METADATA),
    bad("text for a size", _replaced('"8"', '"x"'), _NO_METADATA),
    bad("no pixels", _replaced('"8"', '"0"'), _SIZE),
    bad("an answer that is cut", _given(answer(_METADATA, length=10**6), b""), _UNUSABLE + ".*IncompleteRead"),
    bad("no answer", _given(b"", b""), _UNUSABLE),
    bad("an error", _given(answer('{"error": "gone"}', "500 Error"), b""), "answers 500: gone"),
    bad("predictions of other images", _predicted([[0.1, 0.9]] * 2), "answered 2 predictions for 1 images"),
    bad("three scores of two", _predicted([[1, 2, 3]]), "2 finite numbers for each image"),
    bad("texts for scores", _predicted([["1", "2"]]), _NO_SCORES),
    bad("null for a score", _predicted([[None, 1]]), _NO_SCORES),
    bad("NaN for a score", _predicted("[[NaN, 1]]"), "2 finite numbers for each image"),
    bad("scores beyond float32", _predicted([[1e300, 1]]), "2 finite numbers for each image"),
    hostile("a redirect", _given(answer("", "302 Found", "Location: http://127.0.0.1:9/x"), b""), "answers 302"),
    hostile(
        "a redirect to a file", _given(answer("", "302 Found", "Location: file:///etc/passwd"), b""), "answers 302"
    ),
    hostile("no HTTP", _given(b"\0" * 5000, b""), _UNUSABLE),
    hostile("a header of 1 MB", _given(answer(_METADATA, "200 OK", "X: " + "x" * 10**6), b""), _UNUSABLE),
    hostile("10,000 headers", _given(answer(_METADATA, "200 OK", *["X: x"] * 10_000), b""), _UNUSABLE),
    hostile("nested 100,000 times", _described("[" * 100_000), _UNUSABLE),
    hostile("an integer of 5,000 digits", _described("1" * 5000), _UNUSABLE),
    hostile("a size of 400 digits", _replaced('"8"', f'"{10**400}"'), _SIZE),
    hostile("scores of 400 digits", _predicted([[10**400, 1]]), _NO_SCORES),
    hostile("2^60 classes", _replaced('"2"', f'"{2**60}"'), "finite numbers for each image"),
    hostile("nested scores", _predicted("[" * 500 + "]" * 500), _NO_SCORES + "|finite numbers"),
    hostile(
        "escape sequences in an error",
        _given(answer('{"error": "\\u001b[2J\\u0007"}', "500 Error"), b""),
        r"answers 500: [^\x00-\x1f]*$",
    ),
)
