"""The work of predict: a model's predictions on clean images and on images attacked through its own gradients."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from attacks.engine import to_images
from attacks.target import Target
from components import storage
from components.adversarial_shard import Crafting
from components.artifacts import Artifact
from components.component import Context
from components.evaluate.component import PredictParams
from components.evaluate.thresholds import CLEAN
from components.examples import Batch, ExamplesSpec, Split, read_batches, shard_name, shard_uris
from components.model_files import load_target
from components.progress import watch_files
from models.classifier import compiled_logits

PREDICTIONS = "predictions"
ADVERSARIAL = "adversarial"

SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("lesion_id", pa.string()),
        ("label", pa.int64()),
        ("dx", pa.string()),
        ("age", pa.float32()),
        ("age_group", pa.string()),
        ("sex", pa.string()),
        ("localization", pa.string()),
        ("model", pa.string()),
        ("attack", pa.string()),
        ("epsilon", pa.float32()),
        ("probabilities", pa.list_(pa.float32())),
        ("predicted", pa.int64()),
    ]
)
_RENAMED = {"image/id": "image_id", "lesion/id": "lesion_id"}


def run(context: Context) -> None:
    """Attack and score the test split on Beam; write predictions and the adversarial images that they were made on."""
    params = context.params
    assert isinstance(params, PredictParams)
    examples, model = context.input("examples"), context.input("model")
    shards = shard_uris(examples, ExamplesSpec.read(examples), Split.TEST)
    output = context.outputs["predictions"]
    crafting = [
        Crafting(name, attack, epsilon, params.batch_size, params.seed, model.fingerprint)
        for name, attack in params.attacks.items()
        for epsilon in params.epsilons
    ]
    elements = [(uri, index, len(shards)) for index, uri in enumerate(shards)]
    with watch_files(context.progress, "evaluate", output, ".parquet", len(shards)), context.beam.pipeline() as root:
        (
            root
            | "Shards" >> beam.Create(elements)
            | "Spread" >> beam.Reshuffle()
            | "Predict" >> beam.ParDo(PredictShard(model, crafting, output, params.batch_size))
        )


def prediction_uris(predictions: Artifact) -> list[str]:
    """Return the Parquet shards of a predictions artifact in order."""
    names = storage.list_files(predictions.path(PREDICTIONS))
    return [predictions.path(PREDICTIONS, name) for name in names if name.endswith(".parquet")]


class PredictShard(beam.DoFn):
    """Scores one shard of test images under every attack.

    What is scored is what is stored: 8-bit images inside the budget.
    """

    def __init__(self, model: Artifact, crafting: Sequence[Crafting], output: str, batch_size: int) -> None:
        """Put a model through these attacks; write below `output`."""
        self._model, self._crafting, self._output, self._batch_size = model, crafting, output, batch_size

    def process(self, element: tuple[str, int, int]) -> Iterator[None]:
        """Write the shard's predictions and adversarial images."""
        source, index, count = element
        target = load_target(self._model.uri, self._model.digest)
        rows: list[dict[str, Any]] = []
        with contextlib.ExitStack() as stack:
            writers = [stack.enter_context(self._writer(crafting, index, count)) for crafting in self._crafting]
            for batch in read_batches(source, self._batch_size):
                rows += self._rows(batch, batch.pixels, target, CLEAN, 0.0)
                for crafting, writer in zip(self._crafting, writers, strict=True):
                    adversarial = crafting.craft(target, batch)
                    for record in crafting.records(batch, adversarial):
                        writer.write(record)
                    rows += self._rows(batch, adversarial, target, crafting.name, crafting.epsilon)
        name = f"part-{index:05d}-of-{count:05d}.parquet"
        write_predictions(storage.join(self._output, PREDICTIONS, name), rows)
        yield from ()

    @contextlib.contextmanager
    def _writer(self, crafting: Crafting, index: int, count: int) -> Iterator[Any]:
        folder = f"{crafting.name}-{crafting.epsilon:g}"
        uri = storage.join(self._output, ADVERSARIAL, folder, shard_name(Split.TEST, index, count))
        with storage.atomic_file(uri) as path, tf.io.TFRecordWriter(path) as writer:
            yield writer

    def _rows(
        self, batch: Batch, pixels: np.ndarray[Any, np.dtype[np.uint8]], target: Target, attack: str, epsilon: float
    ) -> list[dict[str, Any]]:
        probabilities = predict(target, pixels, self._batch_size)
        return [
            {
                **{_RENAMED.get(name, name): value for name, value in batch.record(index).items()},
                "model": self._model.fingerprint,
                "attack": attack,
                "epsilon": epsilon,
                "probabilities": scores.tolist(),
                "predicted": int(scores.argmax()),
            }
            for index, scores in enumerate(probabilities)
        ]


def predict(
    target: Target, pixels: np.ndarray[Any, np.dtype[np.uint8]], batch_size: int
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return probabilities [count, class_count] for at most a batch of images uint8 [count, size, size, 3].

    The batch is filled up to its full size: one shape, compiled once.
    """
    images = np.zeros((batch_size, *pixels.shape[1:]), np.float32)
    images[: len(pixels)] = to_images(pixels)
    logits = compiled_logits(target.logits)(target.weights, tf.constant(images))
    return np.asarray(tf.nn.softmax(logits).numpy()[: len(pixels)])


def write_predictions(uri: str, rows: list[dict[str, Any]]) -> None:
    """Write predictions as Parquet; see `SCHEMA`. A missing age is null."""
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    ages = table.column("age").to_numpy()
    table = table.set_column(table.schema.get_field_index("age"), "age", pa.array(ages, pa.float32(), from_pandas=True))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    storage.write_bytes(uri, sink.getvalue().to_pybytes())
