"""Pipelines on Spark whose outputs tests look at."""

from __future__ import annotations

import itertools
import pickle
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import apache_beam as beam

from dermrobust.components.beam_runtime import BeamRuntime

Build = Callable[[beam.Pipeline], Mapping[str, beam.PCollection]]


class Keep(beam.DoFn):
    """Writes the elements of a bundle to a file of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def start_bundle(self) -> None:
        self._kept: list[Any] = []

    def process(self, element: Any) -> None:
        self._kept.append(element)

    def finish_bundle(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / uuid.uuid4().hex).write_bytes(pickle.dumps(self._kept))


def create(root: beam.Pipeline, name: str, values: Iterable[Any]) -> beam.PCollection:
    """A PCollection in one partition, without the shuffle that `Create` adds."""
    return root | name >> beam.Create(list(values), reshuffle=False)


def run(master: str, folder: Path, build: Build) -> tuple[dict[str, list[Any]], Any]:
    """The elements of the named outputs of a pipeline, sorted by their text, and its result."""
    root = BeamRuntime("PySparkRunner", (f"--spark_master={master}",), str(folder / "root")).pipeline()
    outputs = build(root)
    for name, output in outputs.items():
        output | f"Keep {name}" >> beam.ParDo(Keep(folder / name))
    result = root.run()
    result.wait_until_finish()
    kept = {name: [pickle.loads(path.read_bytes()) for path in (folder / name).glob("*")] for name in outputs}
    return {name: sorted(itertools.chain(*parts), key=repr) for name, parts in kept.items()}, result
