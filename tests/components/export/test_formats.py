"""Formats beside the SavedModel: what they compute is what the network does, or nothing is exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tensorflow as tf

from dermrobust.attacks.errors import UserError
from dermrobust.components.artifacts import Artifact
from dermrobust.components.examples import ExamplesSpec, Split, read_shard, shard_uris
from dermrobust.components.export.component import EXPORT, ExportParams
from dermrobust.components.export.formats.litert import LiteRT
from tests.components.conftest import Inputs, Workshop
from tests.components.export.conftest import PARAMS, Floats


@pytest.fixture(scope="module")
def images(examples: Artifact) -> Floats:
    spec = ExamplesSpec.read(examples)
    uris = shard_uris(examples, spec, Split.TEST)
    pixels = np.concatenate([batch.pixels for uri in uris for batch in read_shard(uri, spec.task)])
    return pixels.astype(np.float32) / np.float32(255)


def test_onnx_runtime_returns_the_probabilities(exported: Artifact, images: Floats, expected: Floats) -> None:
    session = onnxruntime.InferenceSession(exported.path("saved_model", "assets.extra", "model.onnx"))

    (found,) = session.run(None, {"images": images})

    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("count", [1, 3])
def test_litert_returns_the_probabilities(count: int, exported: Artifact, images: Floats, expected: Floats) -> None:
    path = exported.path("saved_model", "assets.extra", "model.tflite")
    interpreter = tf.lite.Interpreter(model_path=path)
    (taken,), (returned,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert taken["shape_signature"].tolist() == [-1, *images.shape[1:]]
    interpreter.resize_tensor_input(taken["index"], (count, *images.shape[1:]))
    interpreter.allocate_tensors()
    interpreter.set_tensor(taken["index"], images[:count])
    interpreter.invoke()

    np.testing.assert_allclose(interpreter.get_tensor(returned["index"]), expected[:count], atol=1e-5)


def test_a_file_that_computes_something_else_stops_the_export(
    export_inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = LiteRT.probabilities
    monkeypatch.setattr(LiteRT, "probabilities", lambda self, path, images: right(self, path, images)[:, ::-1])
    params = PARAMS.model_copy(update={"formats": ("litert",)})

    with pytest.raises(RuntimeError, match="loaded by litert, the model's probabilities differ"):
        Workshop(tmp_path).make(EXPORT, params, "refused", **export_inputs)

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_packages_that_are_missing_are_named(
    export_inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "onnxruntime" else object())

    with pytest.raises(UserError, match=r"'onnx' needs onnxruntime; install .* 'dermrobust\[onnx\]'"):
        Workshop(tmp_path).make(EXPORT, PARAMS, "refused", **export_inputs)


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no export format 'coreml'; there are: litert, onnx"):
        ExportParams.model_validate({"formats": ["coreml"]})
