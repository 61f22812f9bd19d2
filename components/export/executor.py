"""The work of export."""

from __future__ import annotations

import itertools
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

from dermrobust.components import model_files, raw_dataset, storage
from dermrobust.components.component import Context, Refused
from dermrobust.components.examples import ExamplesSpec, Split, read_batches, shard_uris
from dermrobust.components.export import canary
from dermrobust.components.export.component import ExportParams
from dermrobust.components.export.saved_files import PROVENANCE, SAVED_MODEL, WARMUP
from dermrobust.components.export.signatures import ServedClassifier

_BLESSING = "blessing.json"


def run(context: Context) -> None:
    """Write the SavedModel of a blessed model, once a fresh process has reproduced the network's probabilities.

    Raises:
        Refused: the model is not blessed; nothing is written.
        RuntimeError: the SavedModel does not answer as the network does.
    """
    params = context.params
    assert isinstance(params, ExportParams)
    refuse_unblessed(context.input("blessing").read_json(_BLESSING))
    model = context.input("model")
    spec = model_files.ModelSpec.read(model)
    network = model_files.load_network(model.uri, model.digest)
    requests, expected = _test_images(context, params.canary_images)
    with tempfile.TemporaryDirectory() as folder, context.progress.task("export", 3, "steps") as task:
        saved = Path(folder, SAVED_MODEL)
        _save(ServedClassifier(network, spec.preprocessing, spec.class_names, _labels_file(folder, spec)), saved)
        _write_extra(saved, model.fingerprint, spec, requests[: params.warmup_requests])
        task.advance()
        answers = canary.ask(saved, requests, Path(folder))
        difference = float(np.abs(answers - tf.nn.softmax(network(expected, training=False)).numpy()).max())
        if not difference <= params.tolerance:
            raise RuntimeError(
                f"export: the SavedModel's probabilities differ from the network's by {difference:.2g} on "
                f"{len(requests)} test images; at most {params.tolerance:g} is accepted. Nothing was exported."
            )
        task.advance()
        storage.upload(saved, storage.join(context.outputs["exported_model"], SAVED_MODEL))
        task.advance()
    context.progress.line(f"export: a fresh process reproduced {len(requests)} answers to {difference:.1e}")


def refuse_unblessed(blessing: dict[str, Any]) -> None:
    """Stop when a model is not blessed.

    Raises:
        Refused: with the reason for each threshold that was missed.
    """
    if blessing["blessed"]:
        return
    unjudged = [verdict["reason"] for verdict in blessing["thresholds"] if not verdict["judged"]]
    failed = [verdict["reason"] for verdict in blessing["thresholds"] if verdict["judged"] and not verdict["passed"]]
    reasons = [*failed, *blessing["checks"]] or unjudged
    lines = "".join(f"\n  {reason}" for reason in reasons)
    raise Refused(f"export: '{blessing['candidate']}' is not blessed, so nothing is exported:{lines}")


def _labels_file(folder: str, spec: model_files.ModelSpec) -> Path:
    path = Path(folder, "class_names.txt")
    path.write_text("".join(f"{name}\n" for name in spec.class_names))
    return path


def _save(served: ServedClassifier, folder: Path) -> None:
    tf.saved_model.save(served, str(folder), signatures=served.signatures())


def _test_images(context: Context, count: int) -> tuple[list[bytes], tf.Tensor]:
    """Return test photographs as they came, and as preprocess stored them: string [count], float32 images."""
    examples = context.input("examples")
    spec = ExamplesSpec.read(examples)
    source = raw_dataset.folder(context.input("dataset"))
    wanted = min(count, spec.counts[Split.TEST])
    encoded: list[bytes] = []
    pixels: list[np.ndarray[Any, Any]] = []
    for index, uri in enumerate(shard_uris(examples, spec, Split.TEST)):
        if len(encoded) >= wanted:
            break
        records = raw_dataset.read_shard(source, Split.TEST, index).as_numpy_iterator()
        encoded += [record["image"]["encoded"] for record in itertools.islice(records, wanted - len(encoded))]
        if (batch := next(read_batches(uri, wanted, spec.task), None)) is not None:
            pixels.append(batch.pixels)
    return encoded, tf.constant(np.concatenate(pixels)[:wanted].astype(np.float32) / np.float32(255.0))


def _write_extra(saved: Path, fingerprint: str, spec: model_files.ModelSpec, requests: list[bytes]) -> None:
    """Add what travels with the model: provenance, preprocessing, and requests that warm a server up."""
    provenance = saved / PROVENANCE
    provenance.parent.mkdir(parents=True, exist_ok=True)
    provenance.write_text(json.dumps({"model": fingerprint, **spec.model_dump(mode="json")}, indent=1))
    with tf.io.TFRecordWriter(str(saved / WARMUP)) as writer:
        for encoded in requests:
            request = predict_pb2.PredictRequest(
                model_spec=model_pb2.ModelSpec(name="dermrobust", signature_name="serving_default"),
                inputs={"image_bytes": tf.make_tensor_proto([encoded])},
            )
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())
