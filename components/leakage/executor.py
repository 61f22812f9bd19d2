"""Executor of leakage: workers fingerprint shards, then compare pairs of shards of different splits."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam

from dermrobust.components import storage
from dermrobust.components.component import Context
from dermrobust.components.evaluation.leakage import FILE, Leakage, NearDuplicate
from dermrobust.components.examples import ExamplesSpec, Split, read_shard, shard_uris
from dermrobust.components.leakage.copies import copies
from dermrobust.components.leakage.fingerprints import Fingerprints
from dermrobust.components.progress import watch_files
from dermrobust.models.task import Task

_SUFFIX = ".npz"
_GROUPS, _COPIES = "groups", "copies"
_TOGETHER = 4096
"""Images of a split, about, whose fingerprints are read at a time: with those of one shard, reading would take longer
than comparing."""
_Pair = tuple[Split, tuple[str, ...], Split, tuple[str, ...]]
"""A split, some of its files, another split, some of its files."""


def run(context: Context) -> None:
    """Compare the images of each split with those of the others, on Beam."""
    examples = context.input("examples")
    spec = ExamplesSpec.read(examples)
    shards = {split: shard_uris(examples, spec, split) for split in Split}
    work = storage.join(context.work_folder, "fingerprints")
    files = {
        split: [storage.join(work, f"{split}-{index:05d}{_SUFFIX}") for index in range(len(uris))]
        for split, uris in shards.items()
    }
    elements = [pair for split in Split for pair in zip(shards[split], files[split], strict=True)]
    with watch_files(context.progress, "leakage", work, _SUFFIX, len(elements)), context.beam.pipeline() as root:
        _ = (
            root
            | "Shards" >> beam.Create(elements)
            | "Spread shards" >> beam.Reshuffle()
            | "Fingerprint" >> beam.ParDo(FingerprintShard(spec.task))
        )
    # A pipeline of its own: pairs need the fingerprints of both shards, which may come from different workers.
    with context.beam.pipeline() as root:
        _ = (
            root
            | "Pairs" >> beam.Create(list(_pairs(files, spec.lengths)))
            | "Spread pairs" >> beam.Reshuffle()
            | "Compare" >> beam.ParDo(CompareShards())
            | "Gather" >> beam.combiners.ToList()
            | "Write" >> beam.Map(_write, storage.join(context.outputs["leakage"], FILE), dict(spec.counts))
        )


class FingerprintShard(beam.DoFn):
    """Writes the fingerprints of a shard; a file that an interrupted execution has finished stays."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def process(self, element: tuple[str, str]) -> Iterator[None]:
        """Read the first file, write the second."""
        source, target = element
        if not storage.exists(target):
            batches = read_shard(source, self._task)
            Fingerprints.joined([Fingerprints.of(batch, self._task.group_key) for batch in batches]).write(target)
        yield from ()


class CompareShards(beam.DoFn):
    """Yields the groups and the copies that shards of two splits share."""

    def process(self, element: _Pair) -> Iterator[tuple[str, Any]]:
        """Read all files of both splits."""
        split, uris, other_split, other_uris = element
        one, other = (Fingerprints.joined([Fingerprints.read(uri) for uri in each]) for each in (uris, other_uris))
        yield from ((_GROUPS, name) for name in one.groups & other.groups)
        yield from ((_COPIES, pair) for pair in near_duplicates(split, one, other_split, other))


def near_duplicates(
    split: Split, one: Fingerprints, other_split: Split, other: Fingerprints
) -> Iterator[NearDuplicate]:
    """Yield the copies that images of two splits have among each other."""
    for (first, second), (distance, correlation) in copies(one, other).items():
        yield NearDuplicate(
            first=one.image_ids[first],
            first_split=split,
            second=other.image_ids[second],
            second_split=other_split,
            distance=distance,
            correlation=round(correlation, 4),
        )


def found_leakage(found: Sequence[tuple[str, Any]], images: Mapping[Split, int]) -> Leakage:
    """Return all that was found, in an order that does not depend on the workers."""
    pairs = [pair for kind, pair in found if kind == _COPIES]
    return Leakage(
        shared_groups=tuple(sorted({name for kind, name in found if kind == _GROUPS})),
        near_duplicates=tuple(
            sorted(pairs, key=lambda pair: (-pair.correlation, pair.distance, pair.first, pair.second))
        ),
        images=dict(images),
    )


def _pairs(files: Mapping[Split, Sequence[str]], lengths: Mapping[Split, Sequence[int]]) -> Iterator[_Pair]:
    """Yield all pairs of shards of different splits, some of each split at a time."""
    together = {split: max(1, _TOGETHER // max((1, *lengths[split]))) for split in files}
    parts = {
        split: [tuple(uris[start : start + together[split]]) for start in range(0, len(uris), together[split])]
        for split, uris in files.items()
    }
    for split, other in itertools.combinations(files, 2):
        for uris, other_uris in itertools.product(parts[split], parts[other]):
            yield split, uris, other, other_uris


def _write(found: Sequence[tuple[str, Any]], uri: str, images: Mapping[Split, int]) -> None:
    storage.write_bytes(uri, found_leakage(found, images).model_dump_json(indent=1).encode())
