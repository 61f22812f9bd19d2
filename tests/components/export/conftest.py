"""A model that is exported once, and what it must return."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from dermrobust.components import raw_dataset
from dermrobust.components.artifacts import Artifact, ArtifactType
from dermrobust.components.evaluation import files
from dermrobust.components.evaluation.blessing import Blessing, Verdict
from dermrobust.components.evaluation.thresholds import Threshold
from dermrobust.components.examples import ExamplesSpec, Split, read_shard, shard_uris
from dermrobust.components.export.component import EXPORT, ExportParams
from dermrobust.components.model_files import load_network
from tests.components.conftest import Inputs, Workshop

PARAMS = ExportParams(warmup_requests=3, canary_images=12, formats=("litert", "onnx"))
Floats = np.ndarray[Any, np.dtype[np.float32]]
Answers = Mapping[str, Any]
Classify = Callable[[list[bytes]], Answers]
"""Function from image files to the outputs of `serving_default` as arrays."""


def _verdict(*, value: float | None, passed: bool, reason: str) -> Verdict:
    threshold = Threshold(metric="accuracy", min=0.5)
    unknown = dict.fromkeys(("baseline_value", "change", "change_lower", "change_upper"))
    return Verdict(
        threshold=threshold,
        value=value,
        lower=value,
        upper=value,
        n=None if value is None else 48,
        judged=value is not None,
        passed=passed,
        reason=reason,
        **unknown,
    )


def blessing_of(workshop: Workshop, name: str, *, blessed: bool) -> Artifact:
    content = Blessing(
        blessed=blessed,
        candidate="mixed",
        baseline=None,
        thresholds=(
            _verdict(value=0.7, passed=True, reason="accuracy is fine"),
            _verdict(value=0.1, passed=blessed, reason="accuracy is 0.1 of 0.5"),
            _verdict(value=None, passed=False, reason="too few images"),
        ),
        checks=() if blessed else ("Gradients exist: fail.",),
    )
    return workshop.publish(ArtifactType.BLESSING, name, {files.BLESSING: content.model_dump_json().encode()})


@pytest.fixture(scope="session")
def blessed(workshop: Workshop) -> Artifact:
    return blessing_of(workshop, "blessed", blessed=True)


@pytest.fixture(scope="session")
def export_inputs(model: Artifact, blessed: Artifact, dataset: Artifact, examples: Artifact) -> Inputs:
    return {"model": model, "blessing": blessed, "dataset": dataset, "examples": examples}


@pytest.fixture(scope="session")
def exported(workshop: Workshop, export_inputs: Inputs) -> Artifact:
    return workshop.make(EXPORT, PARAMS, "exported", **export_inputs)["exported_model"]


@pytest.fixture(scope="session")
def served(exported: Artifact) -> Any:
    return tf.saved_model.load(exported.path("saved_model"))


@pytest.fixture(scope="session")
def classify(served: Any) -> Classify:
    def classify(images: list[bytes]) -> Answers:
        outputs = served.signatures["serving_default"](image_bytes=tf.constant(images, tf.string))
        return {name: output.numpy() for name, output in outputs.items()}

    return classify


@pytest.fixture(scope="session")
def classify_in_session(exported: Artifact) -> Classify:
    """The same as TensorFlow Serving does it."""

    def classify(images: list[bytes]) -> Answers:
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            graph = tf.compat.v1.saved_model.load(session, ["serve"], exported.path("saved_model"))
            signature = graph.signature_def["serving_default"]
            fetches = {name: output.name for name, output in signature.outputs.items()}
            feeds = {signature.inputs["image_bytes"].name: np.asarray(images, np.object_)}
            answers: Answers = session.run(fetches, feeds)
            return answers

    return classify


@pytest.fixture(scope="session")
def network(model: Artifact) -> keras.Model:
    return load_network(model.uri, model.digest)


@pytest.fixture(scope="session")
def photographs(dataset: Artifact) -> list[bytes]:
    """The test images as they came."""
    folder = raw_dataset.folder(dataset)
    shards = range(len(raw_dataset.shard_counts(folder)[Split.TEST]))
    records = [record for index in shards for record in raw_dataset.read_shard(folder, Split.TEST, index)]
    return [record["image"]["encoded"].numpy() for record in records]


@pytest.fixture(scope="session")
def expected(examples: Artifact, network: keras.Model) -> Floats:
    """Probabilities of the network for the test images as preprocess stored them."""
    spec = ExamplesSpec.read(examples)
    uris = shard_uris(examples, spec, Split.TEST)
    pixels = np.concatenate([batch.pixels for uri in uris for batch in read_shard(uri, spec.task)])
    return tf.nn.softmax(network(pixels.astype(np.float32) / 255, training=False)).numpy()
