"""Executor of preprocess: map each shard of photographs to one shard of small images."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import apache_beam as beam
import tensorflow as tf

from dermrobust.components import raw_dataset, storage
from dermrobust.components.component import Context
from dermrobust.components.examples import SPEC, ExamplesSpec, Split, encode, shard_name
from dermrobust.components.preprocess.component import PreprocessParams
from dermrobust.components.progress import watch_files
from dermrobust.components.shard_file import ALL, readable
from dermrobust.models.pixels import from_encoded
from dermrobust.models.preprocessing import Preprocessing
from dermrobust.models.task import IMAGE, LABEL, Task

_COUNTS = "counts"
"""Folder with the class counts of each shard."""


def run(context: Context) -> None:
    """Preprocess every shard on Beam and describe the result in `examples.json`."""
    params = context.params
    assert isinstance(params, PreprocessParams)
    source, task = raw_dataset.folder(context.input("dataset")), raw_dataset.task(context.input("dataset"))
    counts = raw_dataset.shard_counts(source)
    output = context.outputs["examples"]
    shards = [(split, index, len(lengths)) for split, lengths in counts.items() for index in range(len(lengths))]
    # Later stages and the exported model know preprocessing, but no component.
    preprocessing = Preprocessing.model_validate(params.model_dump())
    with watch_files(context.progress, "preprocess", output, ".tfrecord", len(shards)), context.beam.pipeline() as root:
        (
            root
            | "Shards" >> beam.Create(shards)
            # Without it a runner may fuse the steps and work on all shards in one process.
            | "Spread" >> beam.Reshuffle()
            | "Preprocess" >> beam.ParDo(PreprocessShard(source, output, preprocessing, task))
        )
    _write_spec(source, output, preprocessing, task)


class PreprocessShard(beam.DoFn):
    """Map one shard to one shard, so that the number of workers changes no record and no file."""

    def __init__(self, source: str, output: str, preprocessing: Preprocessing, task: Task) -> None:
        """Read shards of a prepared TFDS data set at `source` and write shards below `output`."""
        self._source, self._output, self._preprocessing, self._task = source, output, preprocessing, task

    def process(self, element: tuple[Split, int, int]) -> Iterator[None]:
        """Write the shard and its class counts, unless an interrupted execution has."""
        split, index, count = element
        name = shard_name(split, index, count)
        counted = storage.join(self._output, _COUNTS, f"{name}.json")
        if storage.exists(counted):
            return
        labels: Counter[str] = Counter()
        with storage.local_writing(storage.join(self._output, name)) as path, tf.io.TFRecordWriter(path) as writer:
            for record in self._records(split, index):
                labels[str(record[LABEL])] += 1
                writer.write(encode(record))
        # Counted here, because nothing else reads all records. Written last: it marks a finished shard.
        storage.write_json(counted, labels)
        yield from ()

    def _records(self, split: Split, index: int) -> Iterator[dict[str, Any]]:
        path = raw_dataset.shard_file(self._source, split, index)
        if Path(path).stat().st_size == 0:
            return
        with readable(storage.join(self._source, Path(path).name)):
            columns = _reader(self._source, self._preprocessing)(path)
        flat = [(name, _nested(columns, name).numpy().tolist()) for name in (IMAGE, *self._task.record_features)]
        for values in zip(*(column for _, column in flat), strict=True):
            yield dict(zip((name for name, _ in flat), values, strict=True))


@functools.lru_cache(maxsize=8)
def _reader(source: str, preprocessing: Preprocessing) -> Callable[[str], dict[str, Any]]:
    """Return a function from the path of a shard to its nested features [record], images as stored ones."""

    def preprocess(serialized: tf.Tensor) -> dict[str, Any]:
        record = raw_dataset.parse_record(source, serialized)
        pixels = from_encoded(record["image"]["encoded"], preprocessing)
        record["image"]["encoded"] = tf.io.encode_png(pixels, compression=1)
        return record

    # Traced once for all shards, and called once for each: a dataset that Python makes and iterates over spends half of
    # the processor's time in tracing and in handing over record by record.
    @tf.function(input_signature=[tf.TensorSpec((), tf.string)], autograph=False)
    def read(path: tf.Tensor) -> dict[str, Any]:
        # Deterministic: in whichever order threads finish, records keep that of the data set, and files their bytes.
        images = tf.data.TFRecordDataset(path).map(preprocess, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        columns: dict[str, Any] = images.batch(ALL).get_single_element()
        return columns

    return read


def _nested(record: Mapping[str, Any], name: str) -> Any:
    """Return a feature of a TFDS record, in which "image/id" is the entry "id" of "image"."""
    for key in name.split("/"):
        record = record[key]
    return record


def _write_spec(source: str, output: str, preprocessing: Preprocessing, task: Task) -> None:
    shards = raw_dataset.shard_counts(source)
    totals: dict[Split, Counter[str]] = {split: Counter() for split in Split}
    for split, lengths in shards.items():
        for index in range(len(lengths)):
            name = shard_name(split, index, len(lengths))
            totals[split].update(storage.read_json(storage.join(output, _COUNTS, f"{name}.json")))
    spec = ExamplesSpec(
        task=task,
        preprocessing=preprocessing,
        shards={split: len(lengths) for split, lengths in shards.items()},
        lengths=shards,
        counts={split: sum(lengths) for split, lengths in shards.items()},
        class_counts={split: [totals[split][str(label)] for label in range(len(task.class_names))] for split in Split},
    )
    storage.write_bytes(storage.join(output, SPEC), spec.model_dump_json(indent=1).encode())
