"""Crafting of adversarial examples on one model, shard by shard, on Beam."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import apache_beam as beam

from dermrobust.attacks.target import Target
from dermrobust.components import storage
from dermrobust.components.adversarial_shard import Crafting, write_records
from dermrobust.components.component import Context
from dermrobust.components.examples import Batch, read_shard
from dermrobust.components.progress import watch_files
from dermrobust.models.task import Task

Unit = tuple[str, int, Crafting, str]
"""URI and index of a shard of clean images, the attack, and the URI of the shard of its adversarial images."""
Sample = Callable[[int, Batch], Batch]
"""Picklable function from the index of a shard and its images to those of them that are attacked."""


def craft(
    context: Context,
    title: str,
    units: Sequence[Unit],
    target: Callable[[], Target],
    task: Task,
    sample: Sample | None = None,
) -> None:
    """Carry out units of crafting; one whose file is there is finished.

    Args:
        context: arguments of the executor, whose output is `adversarial`.
        title: description of the work for progress reports.
        units: units of work.
        target: picklable function that returns the model as a target, loaded once per process.
        task: the classification problem.
        sample: choice of images; None: all.
    """
    output = context.outputs["adversarial"]
    with watch_files(context.progress, title, output, ".tfrecord", len(units)), context.beam.pipeline() as root:
        _ = (
            root
            | "Units" >> beam.Create(units)
            # Beam fuses the steps of a pipeline: without this one worker would carry out all units.
            | "Spread" >> beam.Reshuffle()
            | "Craft" >> beam.ParDo(_CraftUnit(target, task, sample))
        )


class _CraftUnit(beam.DoFn):
    """Writes the adversarial images of a unit.

    Batches are cut within a shard, so neither the number of workers nor a retry changes a pixel.
    """

    def __init__(self, target: Callable[[], Target], task: Task, sample: Sample | None) -> None:
        self._target, self._task, self._sample = target, task, sample

    def process(self, unit: Unit) -> Iterator[None]:
        source, shard, crafting, uri = unit
        if not storage.exists(uri):
            write_records(uri, self._records(source, shard, crafting))
        yield from ()

    def _records(self, source: str, shard: int, crafting: Crafting) -> Iterator[bytes]:
        target = self._target()
        for batch in read_shard(source, self._task):
            part = batch if self._sample is None else self._sample(shard, batch)
            if len(part.labels):
                yield from crafting.records(part, crafting.craft(target, part))
