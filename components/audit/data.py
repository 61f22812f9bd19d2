"""Executor of adopt_data: files and tables become the test and the validation split of an examples artifact."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
        split: what the images are for.
        index: number of the shard in its split, from 0.
        count: number of shards of the split.
        images: the images, each with its file.
    """

    split: Split
    index: int
    count: int
    images: tuple[tuple[ImageRecord, str], ...]

    @property
    def name(self) -> str:
        """File name of the shard."""
        return shard_name(self.split, self.index, self.count)


def run(context: Context) -> None:
    """Crop and resize every labelled image to the model's input, and describe the result in `examples.json`.

    Raises:
        UserError: images and labels do not match, an image cannot be read, all are of one class, or audited and
            validation images have images or groups in common.
    """
    params = context.params
    assert isinstance(params, AdoptDataParams)
    task, preprocessing = params.task, params.preprocessing
    adopted: dict[Split, list[ImageRecord]] = {}
    shards: list[Shard] = []
    missing: dict[Split, tuple[str, ...]] = {}
    for split, (folder, table) in params.sources().items():
        labels, files = read_labels(table, task), image_files(folder)
        rows = matched(labels, files, task.class_names)[: params.limit if split is Split.TEST else None]
        if len({row.class_name for row in rows}) == 1:
            raise UserError(f"the first {len(rows)} images are all of the class '{rows[0].class_name}'; raise --limit")
        images = [(row, str(files[row.image_id])) for row in rows]
        shards += _shards(split, images, preprocessing.height * preprocessing.width)
        adopted[split], missing[split] = rows, labels.missing
    _check_apart(adopted, task)
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
    _write_spec(output, adopted, shards, task, preprocessing)
    remarks = [line for split, rows in adopted.items() for line in _remarks(split, rows, missing[split], task)]
    storage.write_json(storage.join(output, ADOPTION), remarks)
    for line in remarks:
        context.progress.line(f"adopt: {line}")


def _check_apart(adopted: Mapping[Split, Sequence[ImageRecord]], task: Task) -> None:
    """Refuse validation images that are audited as well, by their names or their groups."""
    for what, name_of in (("image", _image_id), (task.group_noun, _group)):
        names = {split: {name_of(row) for row in rows} for split, rows in adopted.items()}
        # Without a name, a group is not known.
        if shared := sorted(set.intersection(*names.values()) - {""} if len(names) > 1 else ()):
            several, more = "s" * (len(shared) > 1), ", …" if len(shared) > _NAMED else ""
            named = f"{len(shared)} {what}{several} ({', '.join(shared[:_NAMED])}{more})"
            raise UserError(
                f"audited and validation images share {named}: a rejector that is fitted to audited images looks "
                "better than it is. Take them out of one of the two"
            )


def _image_id(row: ImageRecord) -> str:
    return row.image_id


def _group(row: ImageRecord) -> str:
    return row.group


def _shards(split: Split, images: Sequence[tuple[ImageRecord, str]], pixels: int) -> list[Shard]:
    size = max(1, min(_LARGEST_SHARD, _SHARD_BYTES // (3 * pixels)))
    parts = [tuple(images[start : start + size]) for start in range(0, len(images), size)]
    return [Shard(split, index, len(parts), part) for index, part in enumerate(parts)]


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
    output: str,
    adopted: Mapping[Split, Sequence[ImageRecord]],
    shards: Sequence[Shard],
    task: Task,
    preprocessing: Preprocessing,
) -> None:
    lengths = {split: [len(shard.images) for shard in shards if shard.split is split] for split in Split}
    classes = {split: Counter(row.class_name for row in adopted.get(split, ())) for split in Split}
    spec = ExamplesSpec(
        task=task,
        preprocessing=preprocessing,
        shards={split: len(found) for split, found in lengths.items()},
        lengths=lengths,
        counts={split: sum(found) for split, found in lengths.items()},
        class_counts={split: [found[name] for name in task.class_names] for split, found in classes.items()},
    )
    storage.write_bytes(storage.join(output, SPEC), spec.model_dump_json(indent=1).encode())


def _remarks(split: Split, rows: Sequence[ImageRecord], missing: Sequence[str], task: Task) -> Iterator[str]:
    counts = Counter(row.class_name for row in rows)
    kind = "images" if split is Split.TEST else f"{split} images"
    yield f"{len(rows)} {kind}: " + ", ".join(f"{name} {counts[name]}" for name in task.class_names)
    # Validation images are not sliced, and no interval counts their groups.
    if missing and split is Split.TEST:
        group = None if task.group_key is None else column(task.group_key)
        sliced = [name for name in missing if name != group]
        consequences = [f"no slices by {', '.join(sliced)}"] if sliced else []
        if group in missing:
            consequences.append(
                f"images count as {task.subject}s of their own, which makes intervals too narrow if some are not"
            )
        yield f"the labels have no column {', '.join(missing)}: {'; '.join(consequences)}"
