"""Executor of adopt_data: files and a table become the test split of an examples artifact."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf

from dermrobust.attacks.errors import UserError
from dermrobust.components import storage
from dermrobust.components.audit.component import AdoptDataParams
from dermrobust.components.audit.labels import read_labels
from dermrobust.components.audit.matching import image_files, matched
from dermrobust.components.component import Context
from dermrobust.components.examples import SPEC, ExamplesSpec, Split, encode, encode_pixels, shard_name
from dermrobust.components.foreign_files import ADOPTION
from dermrobust.components.image_record import ImageRecord
from dermrobust.components.image_validation import BadRecord, open_image, read_image_file
from dermrobust.components.progress import watch_files
from dermrobust.models.pixels import from_encoded
from dermrobust.models.preprocessing import Preprocessing
from dermrobust.models.task import IMAGE, Task, column

_SHARD_BYTES = 48 << 20
"""Decoded pixels of a shard, which is in memory as a whole."""
_LARGEST_SHARD = 256
"""Images of a shard; small ones would otherwise all be in one, and be attacked by one worker."""
_NAMED = 3
"""Images that a message names."""
_REPORTS = "reports"


@dataclass(frozen=True)
class Shard:
    """Images that become one file.

    Attributes:
        index: number of the shard, from 0.
        count: number of shards.
        images: the images, each with its file.
    """

    index: int
    count: int
    images: tuple[tuple[ImageRecord, str], ...]

    @property
    def name(self) -> str:
        """File name of the shard."""
        return shard_name(Split.TEST, self.index, self.count)


def run(context: Context) -> None:
    """Crop and resize every labelled image to the model's input, and describe the result in `examples.json`.

    Raises:
        UserError: images and labels do not match, an image cannot be read, or all are of one class.
    """
    params = context.params
    assert isinstance(params, AdoptDataParams)
    task = params.task
    labels = read_labels(Path(params.labels), task)
    files = image_files(Path(params.images))
    rows = matched(labels, files, task.class_names)[: params.limit]
    if len({row.class_name for row in rows}) == 1:
        raise UserError(f"the first {len(rows)} images are all of the class '{rows[0].class_name}'; raise --limit")
    preprocessing = params.preprocessing
    shards = _shards([(row, str(files[row.image_id])) for row in rows], preprocessing.height * preprocessing.width)
    output, reports = context.outputs["examples"], storage.join(context.work_folder, _REPORTS)
    storage.remove(reports)
    with watch_files(context.progress, "adopt", output, ".tfrecord", len(shards)), context.beam.pipeline() as root:
        (
            root
            | "Shards" >> beam.Create(shards)
            | "Spread" >> beam.Reshuffle()
            | "Adopt" >> beam.ParDo(AdoptShard(output, reports, task, preprocessing))
        )
    _check_reports(reports)
    _write_spec(output, rows, [len(shard.images) for shard in shards], task, preprocessing)
    remarks = list(_remarks(rows, labels.missing, task))
    storage.write_json(storage.join(output, ADOPTION), remarks)
    for line in remarks:
        context.progress.line(f"adopt: {line}")


def _shards(images: Sequence[tuple[ImageRecord, str]], pixels: int) -> list[Shard]:
    size = max(1, min(_LARGEST_SHARD, _SHARD_BYTES // (3 * pixels)))
    parts = [tuple(images[start : start + size]) for start in range(0, len(images), size)]
    return [Shard(index, len(parts), part) for index, part in enumerate(parts)]


class AdoptShard(beam.DoFn):
    """Turns the files of one shard into records, and reports those that cannot be read."""

    def __init__(self, output: str, reports: str, task: Task, preprocessing: Preprocessing) -> None:
        """Write shards below `output`, what is wrong with files below `reports`."""
        self._output, self._reports, self._task, self._preprocessing = output, reports, task, preprocessing

    def process(self, shard: Shard) -> Iterator[None]:
        """Write the shard and its report."""
        bad: list[str] = []
        with (
            storage.local_writing(storage.join(self._output, shard.name)) as path,
            tf.io.TFRecordWriter(path) as writer,
        ):
            for row, file in shard.images:
                try:
                    image = encode_pixels(self._pixels(read_image_file(Path(file))))
                    writer.write(encode({IMAGE: image, **row.features(self._task)}))
                except (BadRecord, OSError, tf.errors.InvalidArgumentError) as error:
                    reason = getattr(error, "detail", None) or getattr(error, "message", None) or str(error)
                    # TensorFlow's messages go on with the graph's nodes.
                    bad.append(f"'{file}': {reason.splitlines()[0] if reason else type(error).__name__}")
        storage.write_json(storage.join(self._reports, f"{shard.name}.json"), bad)
        yield from ()

    def _pixels(self, content: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
        # The header alone is read, so that a small file cannot claim a size that would need unreasonable memory.
        open_image(content)
        return from_encoded(tf.constant(content), self._preprocessing)


def _check_reports(reports: str) -> None:
    bad = [line for name in storage.list_files(reports) for line in storage.read_json(storage.join(reports, name))]
    if bad:
        more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        raise UserError(
            f"{len(bad)} image{'s' if len(bad) > 1 else ''} cannot be read: {'; '.join(bad[:_NAMED])}{more}. Repair "
            "or remove them, and leave their rows out of the labels"
        )


def _write_spec(
    output: str, rows: Sequence[ImageRecord], lengths: list[int], task: Task, preprocessing: Preprocessing
) -> None:
    counts = Counter(row.class_name for row in rows)
    none = dict.fromkeys(Split, 0)
    nothing = [0] * len(task.class_names)
    spec = ExamplesSpec(
        task=task,
        preprocessing=preprocessing,
        shards={**none, Split.TEST: len(lengths)},
        lengths={Split.TRAIN: [], Split.VALIDATION: [], Split.TEST: lengths},
        counts={**none, Split.TEST: len(rows)},
        class_counts={**dict.fromkeys(Split, nothing), Split.TEST: [counts[name] for name in task.class_names]},
    )
    storage.write_bytes(storage.join(output, SPEC), spec.model_dump_json(indent=1).encode())


def _remarks(rows: Sequence[ImageRecord], missing: Sequence[str], task: Task) -> Iterator[str]:
    counts = Counter(row.class_name for row in rows)
    yield f"{len(rows)} images: " + ", ".join(f"{name} {counts[name]}" for name in task.class_names)
    if missing:
        group = None if task.group_key is None else column(task.group_key)
        sliced = [name for name in missing if name != group]
        consequences = [f"no slices by {', '.join(sliced)}"] if sliced else []
        if group in missing:
            consequences.append(
                f"images count as {task.subject}s of their own, which makes intervals too narrow if some are not"
            )
        yield f"the labels have no column {', '.join(missing)}: {'; '.join(consequences)}"
