"""Requests to a served model."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from benchmarks.fuzz_targets.changes import changed
from benchmarks.fuzz_targets.json_edits import VALUES, edited
from dermrobust.attacks.errors import UserError


class _Echo:
    """A model whose answers are sizes."""

    version = 1
    description: Mapping[str, Any] = MappingProxyType({"signatures": {}})

    def __init__(self) -> None:
        from dermrobust.pipeline.serving.requests import Signature

        self.signatures: Mapping[str, Signature] = {
            "serving_default": Signature("serving_default", "image_bytes", (), encoded=True),
            "pixels": Signature("pixels", "images", (2, 2, 3), encoded=False),
        }

    def predict(self, request: Any) -> dict[str, Any]:
        import numpy as np

        return {"size": np.array([len(each) for each in request.values])}


@functools.cache
def _client() -> Any:
    from starlette.testclient import TestClient

    from dermrobust.pipeline.serving.app import create_app

    return TestClient(create_app(_Echo(), "skin"))


def post(content: bytes) -> None:
    """Send the body of a request.

    Raises:
        UserError: the answer is not a prediction but a status below 500, with its message.
    """
    answer = _client().post("/v1/models/skin:predict", content=content)
    if 400 <= answer.status_code < 500:
        raise UserError(f"{answer.status_code}: {answer.json()['error']}")
    assert answer.status_code == 200 and answer.json()


def _with_request(image: bool, changes: list[tuple[int, Any]]) -> bytes:
    pixels = {"signature_name": "pixels", "instances": [[[[0.5] * 3] * 2] * 2]}
    return edited(json.dumps({"instances": [{"b64": "AAAA"}]} if image else pixels), changes)


def requests() -> SearchStrategy[bytes]:
    """Return bodies of requests with a few changes."""
    edits = st.lists(st.tuples(st.integers(0, 100), VALUES), max_size=2)
    whole = st.builds(_with_request, st.booleans(), edits)
    return st.one_of(whole, changed(whole), st.binary(max_size=60))


def read_request(content: bytes, folder: Path) -> None:
    """Ask a served model."""
    del folder
    post(content)
