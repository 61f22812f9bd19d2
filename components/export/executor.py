"""Executor of export."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

from dermrobust.components import model_files, raw_dataset, storage
from dermrobust.components.component import Context
from dermrobust.components.evaluation.referrals import Rejector, tempered
from dermrobust.components.examples import ExamplesSpec, Split, first_records, shard_uris
from dermrobust.components.export.blessing import read_blessing
from dermrobust.components.export.canary import Canary, Floats
from dermrobust.components.export.component import ExportParams
from dermrobust.components.export.description import describe
from dermrobust.components.export.files import DESCRIPTION, SAVED_MODEL, WARMUP
from dermrobust.components.export.formats.writing import FOLDER, exporters, write
from dermrobust.components.export.naming import nameable
from dermrobust.components.export.signatures import ENCODED, ReferralRule, ServedClassifier


def run(context: Context) -> None:
    """Write the SavedModel of a blessed model, once a fresh process has reproduced the network's probabilities.

    Raises:
        Refused: the model is not blessed; nothing is written.
        RuntimeError: the SavedModel cannot be loaded, or does not return what the network does; nothing is written.
    """
    params = context.params
    assert isinstance(params, ExportParams)
    formats = exporters(params.formats)
    blessing = read_blessing(context.input("blessing"))
    model = context.input("model")
    spec = model_files.ModelSpec.read(model)
    with (
        Canary() as fresh,
        tempfile.TemporaryDirectory() as folder,
        context.progress.task("export", 3, "steps") as task,
    ):
        network = model_files.load_network(model.uri, model.digest)
        requests, images = _test_images(context, params.canary_images)
        saved = Path(folder, SAVED_MODEL)
        rule = _referral_rule(context, params.referral_rate)
        labels = _labels_file(folder, spec)
        served = ServedClassifier(nameable(network), spec.preprocessing, spec.class_names, labels, rule)
        signatures = served.signatures()
        tf.saved_model.save(served, str(saved), signatures=signatures)
        description = describe(model, spec, blessing, signatures, rule)
        description["formats"] = {name: f"{FOLDER}/{exporter.file}" for name, exporter in formats.items()}
        _write_extra(saved, description, requests[: params.warmup_requests])
        task.advance()
        expected = tf.nn.softmax(network(images, training=False)).numpy()
        difference = _compare(write(formats, nameable(network), saved, np.asarray(images)), expected, params.tolerance)
        if rule is not None:
            # What a fresh process answers beside the probabilities.
            confidence = tempered(expected, rule.temperature).max(axis=1, keepdims=True)
            expected = np.concatenate([expected, confidence.astype(np.float32)], axis=1)
        answers = fresh.ask(saved, requests, Path(folder))
        difference = max(difference, _compare(answers, expected, params.tolerance))
        task.advance()
        storage.upload(saved, storage.join(context.outputs["exported_model"], SAVED_MODEL))
        task.advance()
    context.progress.line(f"export: a fresh process reproduced {len(requests)} answers to {difference:.1e}")


def _compare(answers: Mapping[str, Floats], expected: Floats, tolerance: float) -> float:
    """Return the largest difference of a probability in any way of loading.

    Raises:
        RuntimeError: it is above the tolerance, or undefined.
    """
    differences = {loader: float(np.abs(found - expected).max()) for loader, found in answers.items()}
    for loader, difference in differences.items():
        # NaN, the answer for an image that cannot be decoded, is not below the tolerance either.
        if not difference <= tolerance:
            raise RuntimeError(
                f"export: loaded by {loader}, the model's probabilities differ from the network's by "
                f"{difference:.2g} on {len(expected)} test images; at most {tolerance:g} is accepted. "
                "Nothing was exported."
            )
    return max(differences.values(), default=0.0)


def _referral_rule(context: Context, rate: float | None) -> ReferralRule | None:
    """Return the temperature and threshold that were fitted to the model; None: it refers nothing."""
    if not (found := context.inputs.get("referrals", ())):
        return None
    rejector = Rejector.read(found[0])
    threshold = rejector.at(rate)
    return ReferralRule(threshold.rate, rejector.temperature, threshold.threshold)


def _labels_file(folder: str, spec: model_files.ModelSpec) -> Path:
    path = Path(folder, "class_names.txt")
    path.write_text("".join(f"{name}\n" for name in spec.class_names))
    return path


def _test_images(context: Context, count: int) -> tuple[list[bytes], tf.Tensor]:
    """Return images of the test split twice: their files, and as preprocess stored them, float32 in [0, 1]."""
    examples = context.input("examples")
    spec = ExamplesSpec.read(examples)
    source = raw_dataset.folder(context.input("dataset"))
    wanted = min(count, spec.counts[Split.TEST])
    encoded: list[bytes] = []
    shards = shard_uris(examples, spec, Split.TEST)
    for index in range(len(shards)):
        if len(encoded) >= wanted:
            break
        records = raw_dataset.read_shard(source, Split.TEST, index).as_numpy_iterator()
        encoded += [record["image"]["encoded"] for record in itertools.islice(records, wanted - len(encoded))]
    pixels = first_records(shards, wanted, spec.task).pixels
    return encoded, tf.constant(pixels.astype(np.float32) / np.float32(255.0))


def _write_extra(saved: Path, description: dict[str, Any], requests: list[bytes]) -> None:
    """Add the description and the requests that a server replays on loading."""
    path = saved / DESCRIPTION
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(description, indent=1))
    with tf.io.TFRecordWriter(str(saved / WARMUP)) as writer:
        for encoded in requests:
            request = predict_pb2.PredictRequest(
                # A server replays them whatever name it serves the model under.
                model_spec=model_pb2.ModelSpec(name="dermrobust", signature_name=ENCODED),
                inputs={"image_bytes": tf.make_tensor_proto([encoded])},
            )
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())
