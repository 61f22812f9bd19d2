"""Writing of the shards of a TFDS data set, all of them in one Beam pipeline.

TFDS 4.9.10 has this for `ShardBasedBuilder`, but it starts a pipeline after each split, which generates the shards of
the earlier splits once more; it adds transforms for each shard, holds a shard's examples in memory, and from 11 shards
on it records wrong lengths.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import tensorflow_datasets as tfds
from etils import epath
from tensorflow_datasets.core.writer import ExampleWriter

from dermrobust.components.ingest.serialization import DeterministicSerializer
from dermrobust.components.ingest.shard_generator import ShardGenerator

_LENGTHS = "shard_lengths.json"


@dataclass(frozen=True)
class Shard:
    """A shard to be written.

    Attributes:
        split: name of the split.
        index: number of the shard within its split.
        path: its file.
        generator: yields its examples.
    """

    split: str
    index: int
    path: epath.Path
    generator: ShardGenerator


class ShardWriter:
    """Encodes, serializes and writes the examples of a shard; picklable."""

    def __init__(self, features: tfds.features.FeaturesDict, files: ExampleWriter) -> None:
        """Write examples of `features` by `files`."""
        self._features, self._files = features, files
        self._serializer = DeterministicSerializer(features.get_serialized_info())

    def write(self, shard: Shard) -> int:
        """Write the shard, one example in memory at a time; return the number of examples."""
        count = 0

        def serialized() -> Iterator[tuple[str, bytes]]:
            nonlocal count
            for key, example in shard.generator():
                count += 1
                yield key, self._serializer.serialize_example(self._features.encode_example(example))

        self._files.write(path=shard.path, examples=serialized())
        return count


def write_shards(
    shards: Sequence[Shard], writer: ShardWriter, folder: epath.Path, config: tfds.download.DownloadConfig
) -> dict[str, list[int]]:
    """Write `shards` on Beam, or in this process where `config` names no runner.

    Args:
        shards: all shards, those of a split in order.
        writer: writes a shard.
        folder: of the data set; workers write there, and this process reads.
        config: holds the runner and its options.

    Returns:
        The number of examples of each shard, by split.
    """
    if config.beam_runner is None:
        counted = {(shard.split, shard.index): writer.write(shard) for shard in shards}
    else:
        file = folder / _LENGTHS
        with beam.Pipeline(runner=config.beam_runner, options=config.beam_options) as root:
            _ = (
                root
                | "Shards" >> beam.Create(shards)
                # Without it a runner may fuse the steps and generate all shards in one process.
                | "Spread" >> beam.Reshuffle()
                | "Write" >> beam.ParDo(_WriteShard(writer))
                | "All lengths" >> beam.combiners.ToList()
                | "Record" >> beam.ParDo(_RecordLengths(file))
            )
        counted = {(split, index): length for split, index, length in json.loads(file.read_text())}
        file.unlink()
    lengths: dict[str, list[int]] = {}
    for shard in shards:
        lengths.setdefault(shard.split, []).append(counted[shard.split, shard.index])
    return lengths


class _WriteShard(beam.DoFn):
    """Writes a shard; yields its split, index and number of examples."""

    def __init__(self, writer: ShardWriter) -> None:
        self._writer = writer

    def process(self, shard: Shard) -> Iterator[tuple[str, int, int]]:
        yield shard.split, shard.index, self._writer.write(shard)


class _RecordLengths(beam.DoFn):
    """Writes the lengths of all shards to a file."""

    def __init__(self, file: epath.Path) -> None:
        self._file = file

    def process(self, lengths: list[tuple[str, int, int]]) -> Iterator[Any]:
        self._file.write_text(json.dumps(sorted(lengths)))
        yield from ()
