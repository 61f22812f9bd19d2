"""Export: what is served answers as the trained network does, or nothing is exported."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import prediction_log_pb2

from dermrobust.components.artifacts import Artifact
from dermrobust.components.component import Refused
from dermrobust.components.examples import ExamplesSpec
from dermrobust.components.export.component import EXPORT, ExportParams
from tests.components.conftest import IMAGE_SIZE, Workshop
from tests.components.export.conftest import PARAMS, Floats, blessing_of
from tests.small_networks import CLASS_COUNT


def test_serving_takes_photographs_and_returns_what_a_client_needs(served: Any) -> None:
    signature = served.signatures["serving_default"]

    assert signature.structured_input_signature[1] == {"image_bytes": tf.TensorSpec([None], tf.string, "image_bytes")}
    outputs = signature.structured_outputs
    assert outputs["probabilities"].shape.as_list() == [None, CLASS_COUNT]
    assert {name: spec.dtype for name, spec in outputs.items()} == {
        "probabilities": tf.float32,
        "class": tf.string,
        "class_index": tf.int64,
    }


def test_raw_test_images_get_the_probabilities_of_the_network(
    served: Any, photographs: list[bytes], expected: Floats, examples: Artifact
) -> None:
    answer = served.signatures["serving_default"](image_bytes=tf.constant(photographs))

    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-5)
    np.testing.assert_array_equal(answer["class_index"], expected.argmax(axis=1))
    names = ExamplesSpec.read(examples).class_names
    assert [name.decode() for name in answer["class"].numpy()] == [names[index] for index in expected.argmax(axis=1)]


def test_one_photograph_is_served_too(served: Any, photographs: list[bytes], expected: Floats) -> None:
    answer = served.signatures["serving_default"](image_bytes=tf.constant(photographs[:1]))

    np.testing.assert_allclose(answer["probabilities"], expected[:1], atol=1e-5)


@pytest.mark.parametrize("format_", ["PNG", "BMP", "GIF"])
def test_photographs_of_other_formats_and_shapes_are_served(format_: str, served: Any) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.full((30, 50, 3), 128, np.uint8)).save(buffer, format_)

    answer = served.signatures["serving_default"](image_bytes=tf.constant([buffer.getvalue()]))

    assert float(tf.reduce_sum(answer["probabilities"])) == pytest.approx(1, abs=1e-5)


def test_the_networks_own_input_is_served_under_pixels(served: Any, network: keras.Model) -> None:
    signature = served.signatures["pixels"]
    images = np.random.default_rng(0).random((5, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.float32)

    answer = signature(images=tf.constant(images))

    assert signature.structured_input_signature[1] == {
        "images": tf.TensorSpec([None, IMAGE_SIZE, IMAGE_SIZE, 3], tf.float32, "images")
    }
    np.testing.assert_allclose(answer["probabilities"], tf.nn.softmax(network(images, training=False)), atol=1e-5)
    assert answer.keys() == {"probabilities", "class", "class_index"}


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


def test_class_names_and_provenance_travel_with_the_model(
    exported: Artifact, model: Artifact, examples: Artifact
) -> None:
    spec = ExamplesSpec.read(examples)
    names = Path(exported.path("saved_model", "assets", "class_names.txt")).read_text().split()
    provenance = exported.read_json("saved_model", "assets.extra", "dermrobust.json")

    assert names == provenance["class_names"] == list(spec.class_names)
    assert provenance["model"] == model.fingerprint
    assert provenance["preprocessing"] == spec.preprocessing.model_dump(mode="json")


def exports_nothing(
    workshop: Workshop, tmp_path: Path, params: ExportParams, error: type[Exception], match: str, **inputs: Artifact
) -> None:
    """Exports must fail, and must have written nothing."""
    elsewhere = Workshop(tmp_path)

    with pytest.raises(error, match=match):
        elsewhere.make(EXPORT, params, "refused", **inputs)

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_model_that_is_not_blessed_is_refused_with_the_reasons(
    workshop: Workshop, model: Artifact, dataset: Artifact, examples: Artifact, tmp_path: Path
) -> None:
    blessing = blessing_of(workshop, "not_blessed", blessed=False)
    inputs = {"model": model, "blessing": blessing, "dataset": dataset, "examples": examples}

    exports_nothing(
        workshop,
        tmp_path,
        PARAMS,
        Refused,
        "'mixed' is not blessed.*\n  accuracy is 0.1 of 0.5\n  Gradients exist: fail.$",
        **inputs,
    )


@pytest.mark.parametrize("shift", [2e-5, float("nan")])
def test_a_server_that_answers_otherwise_stops_the_export(
    shift: float,
    workshop: Workshop,
    model: Artifact,
    blessed: Artifact,
    dataset: Artifact,
    examples: Artifact,
    expected: Floats,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ask(saved_model: Path, encoded: Sequence[bytes], folder: Path) -> Floats:
        assert (saved_model / "saved_model.pb").exists()
        answers = expected[: len(encoded)].copy()
        answers[-1, 3] += shift
        return answers

    monkeypatch.setattr("dermrobust.components.export.canary.ask", ask)
    inputs = {"model": model, "blessing": blessed, "dataset": dataset, "examples": examples}

    exports_nothing(workshop, tmp_path, PARAMS, RuntimeError, "Nothing was exported", **inputs)


def test_the_canary_is_asked_for_as_many_test_images_as_there_are(
    workshop: Workshop,
    model: Artifact,
    blessed: Artifact,
    dataset: Artifact,
    examples: Artifact,
    expected: Floats,
    photographs: list[bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Sequence[bytes]] = []
    monkeypatch.setattr(
        "dermrobust.components.export.canary.ask", lambda _, encoded, __: (asked.append(encoded), expected)[1]
    )
    params = ExportParams(canary_images=10_000)

    Workshop(tmp_path).make(EXPORT, params, "all", model=model, blessing=blessed, dataset=dataset, examples=examples)

    assert asked == [photographs]


@pytest.mark.slow
def test_a_saved_model_that_cannot_be_loaded_is_an_error_that_says_why(tmp_path: Path) -> None:
    from dermrobust.components.export import canary

    with pytest.raises(RuntimeError, match=r"could not serve[\s\S]*SavedModel file does not exist"):
        canary.ask(tmp_path / "nothing_here", [b"image"], tmp_path)
