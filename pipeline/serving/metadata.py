"""Metadata of a served model, in the form of TensorFlow Serving's `GetModelMetadata`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TYPES = {"string": "DT_STRING", "float32": "DT_FLOAT", "int64": "DT_INT64"}
_METHOD = "tensorflow/serving/predict"


def signature_defs(signatures: Mapping[str, Any]) -> dict[str, Any]:
    """Return the signatures of `dermrobust.json` as JSON values of `SignatureDefMap`."""
    found = {
        name: {
            "inputs": {key: _tensor(spec) for key, spec in each["inputs"].items()},
            "outputs": {key: _tensor(spec) for key, spec in each["outputs"].items()},
            "method_name": _METHOD,
        }
        for name, each in signatures.items()
    }
    return {"signature_def": found}


def _tensor(spec: Mapping[str, Any]) -> dict[str, Any]:
    # Sizes are strings, as protobuf writes int64 in JSON; -1 stands for any.
    sizes = [{"size": str(-1 if size is None else size), "name": ""} for size in spec["shape"]]
    return {"dtype": _TYPES[spec["dtype"]], "tensor_shape": {"dim": sizes, "unknown_rank": False}, "name": ""}
