"""The work of adopting images: files and a table become the test split of an examples artifact."""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import tensorflow as tf
from PIL import Image

from dermrobust.attacks.errors import UserError
from dermrobust.components import storage
from dermrobust.components.audit.component import AdoptDataParams
from dermrobust.components.audit.labels import OPTIONAL, LabelledImage, read_labels
from dermrobust.components.audit.matching import image_files, matched
from dermrobust.components.component import Context
from dermrobust.components.examples import SPEC, ExamplesSpec, Split, encode, encode_pixels, shard_name
from dermrobust.components.foreign_files import ADOPTION
from dermrobust.components.progress import watch_files
from dermrobust.models.pixels import from_encoded
from dermrobust.models.preprocessing import Preprocessing
from dermrobust.models.tasks.ham10000 import AGE, lesion_task

_MOST_FILE_BYTES = 64 << 20
_MOST_PIXELS = 50_000_000
"""A file of a few kilobytes can claim far more (a decompression bomb)."""
_SHARD_BYTES = 48 << 20
"""Of decoded pixels: a shard is in memory as a whole."""
_LARGEST_SHARD = 256
_NAMED = 3
_REPORTS = "reports"


@dataclass(frozen=True)
class Shard:
    """Images that become one file.

    Attributes:
        index: which of the shards.
        count: how many there are.
        images: each with its file.
    """

    index: int
    count: int
    images: tuple[tuple[LabelledImage, str], ...]

    @property
    def name(self) -> str:
        """Its file name."""
        return shard_name(Split.TEST, self.index, self.count)


def run(context: Context) -> None:
    """Crop and resize every labelled image to the model's input, and describe the result in `examples.json`.

    Raises:
        UserError: images and labels do not match, an image cannot be read, or all are of one class.
    """
    params = context.params
    assert isinstance(params, AdoptDataParams)
    labels = read_labels(Path(params.labels))
    files = image_files(Path(params.images))
    rows = matched(labels, files, params.class_names)[: params.limit]
    if len({row.dx for row in rows}) == 1:
        raise UserError(f"the first {len(rows)} images are all of the class '{rows[0].dx}'; raise --limit")
    preprocessing = Preprocessing(image_size=params.image_size)
    shards = _shards([(row, str(files[row.image_id])) for row in rows], params.image_size)
    output, reports = context.outputs["examples"], storage.join(context.work_folder, _REPORTS)
    storage.remove(reports)
    with watch_files(context.progress, "adopt", output, ".tfrecord", len(shards)), context.beam.pipeline() as root:
        (
            root
            | "Shards" >> beam.Create(shards)
            | "Spread" >> beam.Reshuffle()
            | "Adopt" >> beam.ParDo(AdoptShard(output, reports, params.class_names, preprocessing))
        )
    _check_reports(reports)
    _write_spec(output, rows, len(shards), params.class_names, preprocessing)
    remarks = list(_remarks(rows, labels.missing, params.class_names))
    storage.write_json(storage.join(output, ADOPTION), remarks)
    for line in remarks:
        context.progress.line(f"adopt: {line}")


def _shards(images: Sequence[tuple[LabelledImage, str]], image_size: int) -> list[Shard]:
    size = max(1, min(_LARGEST_SHARD, _SHARD_BYTES // (3 * image_size**2)))
    parts = [tuple(images[start : start + size]) for start in range(0, len(images), size)]
    return [Shard(index, len(parts), part) for index, part in enumerate(parts)]


class AdoptShard(beam.DoFn):
    """Turns the files of one shard into records, and reports those that cannot be read."""

    def __init__(self, output: str, reports: str, class_names: Sequence[str], preprocessing: Preprocessing) -> None:
        """Write shards below `output`, what is wrong with files below `reports`."""
        self._output, self._reports, self._preprocessing = output, reports, preprocessing
        self._labels = {name: label for label, name in enumerate(class_names)}

    def process(self, shard: Shard) -> Iterator[None]:
        """Write the shard and its report."""
        bad: list[str] = []
        with (
            storage.atomic_file(storage.join(self._output, shard.name)) as path,
            tf.io.TFRecordWriter(path) as writer,
        ):
            for row, file in shard.images:
                try:
                    writer.write(encode(self._record(row, Path(file))))
                except (OSError, ValueError, SyntaxError, tf.errors.InvalidArgumentError) as error:
                    reason = getattr(error, "message", None) or str(error)
                    bad.append(f"'{file}': {reason.splitlines()[0] if reason else type(error).__name__}")
        storage.write_json(storage.join(self._reports, f"{shard.name}.json"), bad)
        yield from ()

    def _record(self, row: LabelledImage, file: Path) -> dict[str, Any]:
        content = file.read_bytes()
        _check_size(content)
        return {
            "image/encoded": encode_pixels(from_encoded(tf.constant(content), self._preprocessing)),
            "image/id": row.image_id,
            "lesion/id": row.lesion_id,
            "label": self._labels[row.dx],
            "dx": row.dx,
            "age": row.age,
            "age_group": AGE.group(row.age),
            "sex": row.sex,
            "localization": row.localization,
        }


def _check_size(content: bytes) -> None:
    """Refuse what would need unreasonable memory, from its header alone.

    Raises:
        ValueError: it is too large, or no image.
    """
    if len(content) > _MOST_FILE_BYTES:
        raise ValueError(f"{len(content)} bytes; at most {_MOST_FILE_BYTES} are read")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            width, height = Image.open(io.BytesIO(content), formats=("JPEG", "PNG", "BMP", "GIF")).size
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise ValueError("no complete JPEG, PNG, BMP or GIF") from error
    if width * height > _MOST_PIXELS:
        raise ValueError(f"{width} x {height} pixels; at most {_MOST_PIXELS} are decoded")


def _check_reports(reports: str) -> None:
    bad = [line for name in storage.list_files(reports) for line in storage.read_json(storage.join(reports, name))]
    if bad:
        more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        raise UserError(
            f"{len(bad)} image{'s' if len(bad) > 1 else ''} cannot be read: {'; '.join(bad[:_NAMED])}{more}. Repair "
            "or remove them, and leave their rows out of the labels"
        )


def _write_spec(
    output: str, rows: Sequence[LabelledImage], shards: int, class_names: tuple[str, ...], preprocessing: Preprocessing
) -> None:
    counts = Counter(row.dx for row in rows)
    none = dict.fromkeys(Split, 0)
    spec = ExamplesSpec(
        task=lesion_task(class_names),
        preprocessing=preprocessing,
        shards={**none, Split.TEST: shards},
        counts={**none, Split.TEST: len(rows)},
        class_counts={split: [counts[name] if split is Split.TEST else 0 for name in class_names] for split in Split},
    )
    storage.write_bytes(storage.join(output, SPEC), spec.model_dump_json(indent=1).encode())


def _remarks(rows: Sequence[LabelledImage], missing: Sequence[str], class_names: Sequence[str]) -> Iterator[str]:
    counts = Counter(row.dx for row in rows)
    yield f"{len(rows)} images: " + ", ".join(f"{name} {counts[name]}" for name in class_names)
    if missing:
        sliced = [name for name in OPTIONAL if name in missing and name != "lesion_id"]
        consequences = [f"no slices by {', '.join(sliced)}"] if sliced else []
        if "lesion_id" in missing:
            consequences.append(
                "images count as lesions of their own, which makes intervals too narrow if some are not"
            )
        yield f"the labels have no column {', '.join(missing)}: {'; '.join(consequences)}"
