"""The stages of a pipeline as jobs of Spark."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from apache_beam.metrics import monitoring_infos
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_fn_api_pb2, metrics_pb2
from apache_beam.runners.portability.fn_api_runner.execution import ENCODED_IMPULSE_VALUE, WindowGroupingBuffer
from apache_beam.runners.portability.fn_api_runner.fn_runner import RunnerResult
from apache_beam.runners.runner import PipelineState

from dermrobust.components.runners.spark.agreement import Agreement
from dermrobust.components.runners.spark.bundle import Keyed, Latest, RunBundle
from dermrobust.components.runners.spark.errors import raising_errors_of_workers
from dermrobust.components.runners.spark.shuffles import group_by_key, reshuffle
from dermrobust.components.runners.spark.stages import (
    GROUP,
    IMPULSE,
    SHUFFLE,
    BufferId,
    Graph,
    SideInput,
    Stage,
    kind_of,
)

_TASKS_PER_CORE = {SHUFFLE: 4, GROUP: 1}
"""Bounds of the tasks after a shuffle. Units of attack work differ, and many tasks keep workers busy to the end."""


class Jobs:
    """Runs the stages of a graph.

    The outputs of a stage stay on the workers, in memory or on disk, until the pipeline ends. What a lost worker had is
    computed again.

    Args:
        context: the `pyspark.SparkContext`.
        graph: the pipeline.
        agreement: what workers must agree with.
    """

    def __init__(self, context: Any, graph: Graph, agreement: Agreement) -> None:
        self._context, self._graph, self._agreement = context, graph, agreement
        self._metrics = context.accumulator({}, Latest())
        self._written: dict[BufferId, list[Any]] = {}
        self._counts: dict[BufferId, int] = {}
        self._kept: list[Any] = []

    def run(self) -> RunnerResult:
        """Run all stages and return the result with its metrics.

        Raises:
            UserError: a worker raised it.
            SparkJobError: a worker raised another error, as often as Spark tries.
        """
        try:
            with raising_errors_of_workers():
                return RunnerResult(PipelineState.DONE, {stage.name: self._run(stage) for stage in self._graph.stages})
        finally:
            for each in self._kept:
                each.unpersist()

    def _run(self, stage: Stage) -> list[metrics_pb2.MonitoringInfo]:
        """Run a stage, keep its outputs, and return its metrics."""
        from pyspark import StorageLevel

        self._context.setJobDescription(stage.name)
        bundle = RunBundle(
            stage.descriptor.SerializeToString(), self._broadcast(stage.side_inputs), self._agreement, self._metrics
        )
        inputs = [self._read(buffer).map(_Tag(name)) for name, buffer in stage.inputs.items()]
        outputs = self._union(inputs).mapPartitionsWithIndex(bundle)
        if stage.outputs:
            outputs = outputs.persist(StorageLevel.MEMORY_AND_DISK)
            self._kept.append(outputs)
        # In the JVM: a count in Python would start a second process for each task.
        outputs._jrdd.count()
        metrics = list(monitoring_infos.consolidate(self._metrics_of(stage)))
        for name, (buffer, pcollection) in stage.outputs.items():
            self._written.setdefault(buffer, []).append(outputs.filter(_HasTag(name)).values())
            self._counts[buffer] = self._counts.get(buffer, 0) + _count(metrics, pcollection)
        return metrics

    def _read(self, buffer: BufferId) -> Any:
        """Return an RDD of the encoded elements of a buffer."""
        if buffer == IMPULSE:
            return self._context.parallelize([ENCODED_IMPULSE_VALUE], 1)
        encoded = self._union(self._written.get(buffer, []))
        kind = kind_of(buffer)
        if kind not in _TASKS_PER_CORE:
            return encoded
        before, after = self._graph.ends(buffer)
        tasks = max(1, min(self._counts[buffer], _TASKS_PER_CORE[kind] * self._context.defaultParallelism))
        if kind == SHUFFLE:
            return reshuffle(encoded, self._graph.coder(before), self._graph.coder(after), tasks)
        return group_by_key(encoded, self._graph.safe_coder(before), self._graph.safe_coder(after), tasks)

    def _union(self, parts: Sequence[Any]) -> Any:
        """Return an RDD of all parts; a single one stays as it is, since a union ends a chain of Python functions."""
        if not parts:
            return self._context.emptyRDD()
        return parts[0] if len(parts) == 1 else self._context.union(parts)

    def _broadcast(self, side_inputs: Iterable[SideInput]) -> Any:
        """Return a broadcast of encoded side inputs by their serialized state keys, or None if there are none."""
        encoded = {key: elements for each in side_inputs for key, elements in self._encoded(each)}
        if not encoded:
            return None
        self._kept.append(self._context.broadcast(encoded))
        return self._kept[-1]

    def _encoded(self, side_input: SideInput) -> Iterator[tuple[bytes, bytes]]:
        """Yield the state keys and the encoded elements of a side input."""
        window_groups = WindowGroupingBuffer(side_input.access_pattern, self._graph.safe_coder(side_input.pcollection))
        for data in self._read(side_input.buffer).collect():
            window_groups.append(data)
        for key, window, elements, _ in window_groups.encoded_items():
            place = {"transform_id": side_input.transform, "side_input_id": side_input.tag, "window": window}
            if side_input.access_pattern.urn == common_urns.side_inputs.ITERABLE.urn:
                state = beam_fn_api_pb2.StateKey(iterable_side_input=place)
            else:
                state = beam_fn_api_pb2.StateKey(multimap_side_input={**place, "key": key})
            yield state.SerializeToString(deterministic=True), elements

    def _metrics_of(self, stage: Stage) -> Iterator[metrics_pb2.MonitoringInfo]:
        for (name, _), response in self._metrics.value.items():
            if name == stage.descriptor.id:
                yield from beam_fn_api_pb2.ProcessBundleResponse.FromString(response).monitoring_infos


@dataclass(frozen=True)
class _Tag:
    """Adds the name of the transform that reads."""

    name: str

    def __call__(self, data: bytes) -> Keyed:
        return self.name, data


@dataclass(frozen=True)
class _HasTag:
    """Tells whether an output was written by a transform."""

    name: str

    def __call__(self, output: Keyed) -> bool:
        return output[0] == self.name


def _count(metrics: Iterable[metrics_pb2.MonitoringInfo], pcollection: str) -> int:
    """Return the number of elements of a PCollection that a stage has made."""
    label = monitoring_infos.PCOLLECTION_LABEL
    return sum(
        monitoring_infos.extract_counter_value(info)
        for info in metrics
        if info.urn == monitoring_infos.ELEMENT_COUNT_URN and info.labels[label] == pcollection
    )
