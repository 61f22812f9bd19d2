"""What the Spark runner refuses: before a job starts, in one message. Only PySpark is needed, and no cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms import trigger, window
from apache_beam.transforms.periodicsequence import PeriodicImpulse
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, TimerSpec, on_timer

from dermrobust.attacks.errors import UserError
from dermrobust.components.beam_runtime import BeamRuntime
from dermrobust.components.runners.spark.agreement import Agreement, installed

pytest.importorskip("pyspark", reason="pyspark is not installed: make spark")

NOWHERE = "spark://127.0.0.1:9"


SEEN = beam.DoFn.StateParam(BagStateSpec("seen", beam.coders.VarIntCoder()))
TIMER = TimerSpec("timer", TimeDomain.WATERMARK)
WAITING = beam.DoFn.TimerParam(TIMER)


class Stateful(beam.DoFn):
    def process(self, element: Any, seen: Any = SEEN) -> None:
        seen.add(1)


class Timed(beam.DoFn):
    def process(self, element: Any, timer: Any = WAITING) -> None:
        timer.set(1)

    @on_timer(TIMER)
    def expired(self) -> None:
        pass


class Ranges(beam.transforms.core.RestrictionProvider):
    def initial_restriction(self, element: Any) -> OffsetRange:
        return OffsetRange(0, 2)

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, element: Any, restriction: OffsetRange) -> int:
        return restriction.size()


RANGE = beam.DoFn.RestrictionParam(Ranges())


class Splittable(beam.DoFn):
    def process(self, element: Any, tracker: Any = RANGE) -> Iterator[int]:
        yield 1


class Finalized(beam.DoFn):
    def process(self, element: Any, finalizer: Any = beam.DoFn.BundleFinalizerParam) -> None:
        finalizer.register(lambda: None)


def windowed(root: beam.Pipeline) -> None:
    root | beam.Create([("a", 1)]) | beam.WindowInto(window.FixedWindows(10)) | beam.GroupByKey()


def triggered(root: beam.Pipeline) -> None:
    every = trigger.Repeatedly(trigger.AfterCount(1))
    discarding = trigger.AccumulationMode.DISCARDING
    panes = beam.WindowInto(window.GlobalWindows(), trigger=every, accumulation_mode=discarding)
    root | beam.Create([("a", 1)]) | "Panes" >> panes | beam.GroupByKey()


PIPELINES: dict[str, tuple[Callable[[beam.Pipeline], Any], str]] = {
    "state": (lambda root: root | beam.Create([("a", 1)]) | "Remember" >> beam.ParDo(Stateful()), r"state \(Remember"),
    "timers": (lambda root: root | beam.Create([("a", 1)]) | "Wait" >> beam.ParDo(Timed()), r"timers \(Wait"),
    "splittable": (lambda root: root | beam.Create([1]) | "Split" >> beam.ParDo(Splittable()), r"splittable .*\(Split"),
    "finalization": (lambda root: root | beam.Create([1]) | "End" >> beam.ParDo(Finalized()), r"finalization \(End"),
    "windows": (windowed, r"windows other than the global one \(WindowInto"),
    "triggers": (triggered, r"triggers \(Panes"),
    "unbounded": (lambda root: root | "Ticks" >> PeriodicImpulse(), r"unbounded source \(Ticks"),
    "test_stream": (lambda root: root | "Stream" >> TestStream().add_elements([1]), r"\(Stream"),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_what_is_not_translated_is_named_with_its_place(name: str) -> None:
    build, told = PIPELINES[name]
    root = BeamRuntime("PySparkRunner", (f"--spark_master={NOWHERE}",)).pipeline()
    build(root)

    # No cluster is asked first: there is none.
    with pytest.raises(UserError, match=rf"PySparkRunner does not support .*{told}"):
        root.run()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "needs the cluster"),
        (("--spark_master=local[1]", "--spark_mster=x"), "unknown options: --spark_mster=x"),
        (("--spark_master=local[1]", "--spark_conf=memory"), "KEY=VALUE, found 'memory'"),
    ],
)
def test_options_are_checked(options: tuple[str, ...], told: str) -> None:
    with pytest.raises(UserError, match=told):
        BeamRuntime("PySparkRunner", options).create_runner()


def test_a_master_that_is_not_there_is_told_at_once() -> None:
    root = BeamRuntime("PySparkRunner", (f"--spark_master={NOWHERE}",)).pipeline()
    root | beam.Create([1])
    began = time.monotonic()

    with pytest.raises(UserError, match=f"no Spark master at '{NOWHERE}'"):
        root.run()

    assert time.monotonic() - began < 30


def test_missing_java_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    root = BeamRuntime("PySparkRunner", ("--spark_master=local[1]",)).pipeline()
    root | beam.Create([1])

    with pytest.raises(UserError, match="Spark needs Java 17"):
        root.run()


def test_other_versions_are_told() -> None:
    other = tuple((name, "0.1" if name == "numpy" else version) for name, version in installed())

    Agreement(installed()).check()
    with pytest.raises(UserError, match=r"other versions than this process: numpy \S+ \(here 0\.1\)\. Install"):
        Agreement(other).check()


def test_a_root_that_is_not_shared_is_told(tmp_path: Any) -> None:
    with pytest.raises(UserError, match=r"cannot read '.*/absent'.*a folder that all machines share"):
        Agreement(installed(), str(tmp_path / "absent"), "content").check()
    (tmp_path / "absent").write_text("content")

    Agreement(installed(), str(tmp_path / "absent"), "content").check()
