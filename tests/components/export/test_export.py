"""Export: the SavedModel returns what the trained network does, or nothing is exported."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from dermrobust.components.artifacts import Artifact
from dermrobust.components.component import Refused
from dermrobust.components.examples import ExamplesSpec
from dermrobust.components.export.canary import Canary
from dermrobust.components.export.component import EXPORT, ExportParams
from dermrobust.components.export.signatures import ServedClassifier
from tests.components.conftest import IMAGE_SIZE, Inputs, Workshop
from tests.components.export.conftest import PARAMS, Floats, blessing_of
from tests.small_networks import CLASS_COUNT


def test_warm_up_requests_are_what_a_server_replays(exported: Artifact, served: Any, photographs: list[bytes]) -> None:
    path = exported.path("saved_model", "assets.extra", "tf_serving_warmup_requests")

    logs = [
        prediction_log_pb2.PredictionLog.FromString(record)
        for record in tf.data.TFRecordDataset([path]).as_numpy_iterator()
    ]

    requests = [log.predict_log.request for log in logs]
    contents = [tf.make_ndarray(request.inputs["image_bytes"]).tolist() for request in requests]
    assert contents == [[photograph] for photograph in photographs[: PARAMS.warmup_requests]]
    for request in requests:
        assert request.model_spec.signature_name == "serving_default"
        answer = served.signatures["serving_default"](
            image_bytes=tf.constant(tf.make_ndarray(request.inputs["image_bytes"]))
        )
        assert answer["probabilities"].shape == (1, CLASS_COUNT)


def test_the_description_says_what_is_served_and_why_it_was_allowed(
    exported: Artifact, model: Artifact, blessed: Artifact, examples: Artifact
) -> None:
    spec = ExamplesSpec.read(examples)
    names = Path(exported.path("saved_model", "assets", "class_names.txt")).read_text().split()
    outputs = {
        "probabilities": {"dtype": "float32", "shape": [None, CLASS_COUNT]},
        "class": {"dtype": "string", "shape": [None]},
        "class_index": {"dtype": "int64", "shape": [None]},
    }

    description = exported.read_json("saved_model", "assets.extra", "dermrobust.json")

    assert names == list(spec.class_names)
    assert description == {
        "model": "mixed",
        "fingerprint": model.fingerprint,
        "digest": model.digest,
        "class_names": names,
        "preprocessing": spec.preprocessing.model_dump(mode="json"),
        "signatures": {
            "serving_default": {
                "inputs": {"image_bytes": {"dtype": "string", "shape": [None]}},
                "outputs": {**outputs, "status": {"dtype": "string", "shape": [None]}},
            },
            "pixels": {
                "inputs": {"images": {"dtype": "float32", "shape": [None, IMAGE_SIZE, IMAGE_SIZE, 3]}},
                "outputs": outputs,
            },
        },
        "input_formats": ["JPEG", "PNG", "BMP", "GIF"],
        "max_pixels": 50_000_000,
        "gate": blessed.read_json("blessing.json"),
        "formats": {"litert": "assets.extra/model.tflite", "onnx": "assets.extra/model.onnx"},
    }


def exports_nothing(folder: Path, params: ExportParams, error: type[Exception], match: str, **inputs: Any) -> None:
    """Assert that an export fails and writes nothing."""
    with pytest.raises(error, match=match):
        Workshop(folder).make(EXPORT, params, "refused", **inputs)

    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_a_model_that_is_not_blessed_is_refused_with_the_reasons(
    workshop: Workshop, export_inputs: Inputs, tmp_path: Path
) -> None:
    inputs = {**export_inputs, "blessing": blessing_of(workshop, "not_blessed", blessed=False)}
    reasons = "'mixed' is not blessed.*\n  accuracy is 0.1 of 0.5\n  Gradients exist: fail.$"

    exports_nothing(tmp_path, PARAMS, Refused, reasons, **inputs)


@pytest.mark.parametrize("shift", [2e-5, float("nan")])
def test_a_loader_that_returns_other_probabilities_stops_the_export(
    shift: float,
    export_inputs: Inputs,
    expected: Floats,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ask(_: Canary, saved_model: Path, encoded: Sequence[bytes], folder: Path) -> dict[str, Floats]:
        assert (saved_model / "saved_model.pb").exists()
        right = expected[: len(encoded)]
        wrong = right.copy()
        wrong[-1, 3] += shift
        return {"one loader": right, "another": wrong, "a third": right}

    monkeypatch.setattr(Canary, "ask", ask)

    exports_nothing(tmp_path, PARAMS, RuntimeError, "loaded by another,.*Nothing was exported", **export_inputs)


def test_the_canary_is_asked_for_as_many_test_images_as_there_are(
    export_inputs: Inputs,
    expected: Floats,
    photographs: list[bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Sequence[bytes]] = []

    def ask(_: Canary, saved_model: Path, encoded: Sequence[bytes], folder: Path) -> dict[str, Floats]:
        asked.append(encoded)
        return {"one": expected}

    monkeypatch.setattr(Canary, "ask", ask)

    Workshop(tmp_path).make(EXPORT, ExportParams(canary_images=10_000), "all", **export_inputs)

    assert asked == [photographs]


class _KerasVariablesServed(ServedClassifier):
    """Owns Keras variables, as a straightforward implementation would."""

    def __init__(self, network: keras.Model, *arguments: Any) -> None:
        super().__init__(network, *arguments)
        self._variables = list(network.variables)


@pytest.mark.slow
def test_variables_that_only_one_loader_restores_stop_the_export(
    export_inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dermrobust.components.export.executor.ServedClassifier", _KerasVariablesServed)
    reason = r"Nothing was exported.\ntf.compat.v1.saved_model.load: [\s\S]*Could not find variable"

    exports_nothing(tmp_path, PARAMS, RuntimeError, reason, **export_inputs)


@pytest.mark.slow
def test_a_saved_model_that_cannot_be_loaded_is_an_error_that_says_why(tmp_path: Path) -> None:
    reason = r"could not serve[\s\S]*tf.saved_model.load: .*SavedModel file does not exist"
    with Canary() as fresh, pytest.raises(RuntimeError, match=reason):
        fresh.ask(tmp_path / "nothing_here", [b"image"], tmp_path)


def test_a_process_that_nobody_asks_ends_with_the_export() -> None:
    with Canary() as fresh:
        process = fresh._process
        assert process.poll() is None

    assert process.poll() is not None
