"""Units of work: small tables that are computed apart from each other and then joined, shard by shard.

A unit is finished when its file exists. Many small units keep many workers busy with one model, and an interrupted
execution goes on from the finished ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa

from dermrobust.components import storage
from dermrobust.components.beam_runtime import BeamRuntime
from dermrobust.components.evaluation.predictions import part_name
from dermrobust.components.evaluation.tables import read_tables, write_table
from dermrobust.components.progress import Progress, watch_files

_UNITS = "units"
"""Folder of the finished units' tables; it is removed before the artifact is published."""

Key = tuple[str, int]
"""Folder and shard of the table that a unit belongs to."""


@dataclass(frozen=True)
class Unit:
    """Work on one shard of images.

    Attributes:
        source: URI of the shard.
        shard: index of the shard.
        shards: number of shards.
        folder: folder of the joined tables in the artifact.
        place: position of the unit's rows in the joined table.
    """

    source: str
    shard: int
    shards: int
    folder: str
    place: int

    @property
    def table(self) -> str:
        """Path of the unit's own table in the artifact."""
        return f"{_UNITS}/{self.folder}/{self.shard:05d}/{self.place:05d}.parquet"

    @property
    def joined(self) -> str:
        """Path of the joined table in the artifact."""
        return f"{self.folder}/{part_name(self.shard, self.shards)}"


def run_units(
    runtime: BeamRuntime,
    progress: Progress,
    output: str,
    units: Sequence[Unit],
    compute: Callable[..., pa.Table],
    side_input: Callable[[beam.Pipeline], Any] | None = None,
) -> None:
    """Compute the tables of units on Beam, and write one joined table for each folder and shard.

    Args:
        runtime: the Beam engine.
        progress: listener to tell about finished units.
        output: URI of the artifact.
        units: all units; each has a folder, shard and place of its own.
        compute: picklable function from a unit, and the side input if there is one, to the unit's table.
        side_input: function from the pipeline to a side input of `compute`.
    """
    folder = storage.join(output, _UNITS)
    with watch_files(progress, "evaluate", folder, ".parquet", len(units)), runtime.pipeline() as root:
        extra = () if side_input is None else (side_input(root),)
        _ = (
            root
            | "Units" >> beam.Create(units)
            # Beam fuses the steps of a pipeline: without this one worker would compute all units.
            | "Spread" >> beam.Reshuffle()
            | "Compute" >> beam.ParDo(_ComputeUnit(output, compute), *extra)
            | "By shard" >> beam.GroupByKey()
            | "Join" >> beam.ParDo(_JoinUnits(output))
        )
    storage.remove(folder)


class _ComputeUnit(beam.DoFn):
    """Writes the table of a unit, unless an interrupted execution has; yields (key, unit)."""

    def __init__(self, output: str, compute: Callable[..., pa.Table]) -> None:
        self._output, self._compute = output, compute

    def process(self, unit: Unit, *side: Any) -> Iterator[tuple[Key, Unit]]:
        uri = storage.join(self._output, unit.table)
        # Tables of units may be gone already where the joined one is there: see the end of `run_units`.
        if not storage.exists(uri) and not storage.exists(storage.join(self._output, unit.joined)):
            write_table(uri, self._compute(unit, *side))
        yield (unit.folder, unit.shard), unit


class _JoinUnits(beam.DoFn):
    """Joins the tables of a key in the order of their places: Beam groups in any order."""

    def __init__(self, output: str) -> None:
        self._output = output

    def process(self, element: tuple[Key, Iterable[Unit]]) -> Iterator[None]:
        units = sorted(element[1], key=lambda unit: unit.place)
        uri = storage.join(self._output, units[0].joined)
        if not storage.exists(uri):
            table = read_tables([storage.join(self._output, unit.table) for unit in units])
            # One row group as if all rows had been written at once: the same bytes however often it was interrupted.
            write_table(uri, table.combine_chunks())
        yield from ()
