"""The subset of Beam's model that the Spark runner translates.

Each case stands for one of Beam's own tests of runners and transforms (Beam 2.77), which `CASES` names: `fn_runner` is
runners/portability/fn_api_runner/fn_runner_test.py, the others lie in transforms/ and io/.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import pytest
from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.pvalue import AsDict, AsIter, AsList, AsMultiMap, AsSingleton, TaggedOutput
from apache_beam.transforms.window import GlobalWindow, TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from dermrobust.attacks.errors import UserError
from dermrobust.components.runners.spark.errors import SparkJobError
from tests.spark.collecting import create, run
from tests.spark.killing import one_killed_when

Outputs = dict[str, beam.PCollection]


class Case(NamedTuple):
    """Beam's tests, the pipeline, and the elements of its outputs."""

    stands_for: str
    build: Callable[[beam.Pipeline], Outputs]
    expected: dict[str, list[Any]]


def by_size(number: int) -> Iterator[Any]:
    yield number
    if number > 1:
        yield TaggedOutput("large", number)
    yield TaggedOutput("all", str(number))


def tagged(root: beam.Pipeline) -> Outputs:
    found = create(root, "Numbers", [1, 2, 3]) | beam.ParDo(by_size).with_outputs("large", "all", main="main")
    return {"main": found.main, "large": found.large, "all": found.all}


def joined(root: beam.Pipeline) -> Outputs:
    left, right = create(root, "Left", [("a", 1), ("b", 2)]), create(root, "Right", [("a", "x"), ("a", "y")])
    grouped = {"left": left, "right": right} | beam.CoGroupByKey()
    sides = grouped | beam.Map(lambda pair: (pair[0], sorted(pair[1]["left"]), sorted(pair[1]["right"])))
    return {"joined": sides}


def grouped(root: beam.Pipeline) -> Outputs:
    pairs = create(root, "Pairs", [("a", 1), ("b", 2), ("a", 3), ("", 0)])
    # Values can be read twice.
    return {"groups": pairs | beam.GroupByKey() | beam.Map(lambda pair: (pair[0], sorted(pair[1]), sum(pair[1])))}


def keys_of_types(root: beam.Pipeline) -> Outputs:
    pairs = create(root, "Pairs", [((1, "a"), 1), ((1, "a"), 2), (None, 3), ((1, "b"), 4)])
    return {"groups": pairs | beam.GroupByKey() | beam.MapTuple(lambda key, values: (key, sorted(values)))}


def side_inputs(root: beam.Pipeline) -> Outputs:
    main = create(root, "Main", [1, 2])
    pairs = create(root, "Pairs", [(1, "one"), (2, "two")])
    many = create(root, "Many", [(1, "a"), (1, "b")])
    few, none = create(root, "Few", [10, 20]), create(root, "None", [])
    return {
        "singleton": main | "S" >> beam.Map(lambda x, side: x + side, AsSingleton(create(root, "One", [5]))),
        "default": main | "D" >> beam.Map(lambda x, side: (x, side), AsSingleton(none, default_value="none")),
        "iterable": main | "I" >> beam.Map(lambda x, side: (x, sum(side), sum(side)), AsIter(few)),
        "list": main | "L" >> beam.Map(lambda x, side: (x, sorted(side), len(side)), AsList(few)),
        "dict": main | "M" >> beam.Map(lambda x, side: side[x], AsDict(pairs)),
        "multimap": main | "MM" >> beam.Map(lambda x, side: (x, sorted(side[x])), AsMultiMap(many)),
        "several": main
        | "2" >> beam.Map(lambda x, a, b, c: (x, a, sorted(b), c), 7, AsList(few), c=AsSingleton(none, "-")),
    }


def side_input_of_groups(root: beam.Pipeline) -> Outputs:
    groups = create(root, "Pairs", [(1, 2), (1, 3)]) | beam.GroupByKey() | beam.MapTuple(lambda k, v: (k, sum(v)))
    flat = (create(root, "A", [1]), create(root, "B", [2])) | beam.Flatten()
    main = create(root, "Main", [1])
    return {
        "grouped": main | "G" >> beam.Map(lambda x, side: side[x], AsDict(groups)),
        "flattened": main | "F" >> beam.Map(lambda x, side: sorted(side), AsIter(flat)),
    }


def own_output_as_side_input(root: beam.Pipeline) -> Outputs:
    """What a step yields is main and side input of the next: the steps cannot be one stage."""
    numbers = create(root, "Numbers", [1, 2, 3]) | "Double" >> beam.Map(lambda x: 2 * x)
    return {"shares": numbers | "Share" >> beam.Map(lambda x, every: (x, sum(every)), AsList(numbers))}


def combined(root: beam.Pipeline) -> Outputs:
    numbers, none = create(root, "Numbers", range(10)), create(root, "Nothing", [])
    pairs = create(root, "Pairs", [(n % 2, n) for n in range(10)])
    return {
        "sum": numbers | beam.CombineGlobally(sum),
        "mean": pairs | beam.CombinePerKey(beam.combiners.MeanCombineFn()),
        "empty": none | "Sum of none" >> beam.CombineGlobally(sum),
        "without_defaults": none | "No sum" >> beam.CombineGlobally(sum).without_defaults(),
        "count": numbers | beam.combiners.Count.Globally(),
        "list": numbers | beam.combiners.ToList() | beam.Map(sorted),
        "top": numbers | beam.combiners.Top.Largest(2),
        "values": pairs | "Group" >> beam.GroupByKey() | beam.CombineValues(max),
        "side": numbers | "View" >> beam.CombineGlobally(max) | beam.Map(lambda x, y: x + y, AsSingleton(none, 1)),
    }


def flattened(root: beam.Pipeline) -> Outputs:
    one, two = create(root, "One", [1, 2]), create(root, "Two", [3])
    return {
        "both": (one, two) | "Both" >> beam.Flatten(),
        "same": (one, one) | "Same" >> beam.Flatten(),
        "single": (two,) | "Single" >> beam.Flatten(),
        "nothing": () | "Nothing" >> beam.Flatten(pipeline=root),
        "types": (one, create(root, "Texts", ["a"])) | "Types" >> beam.Flatten() | beam.Map(repr),
        "grouped": (one, two) | "In" >> beam.Flatten() | beam.Map(lambda x: (x % 2, x)) | beam.GroupByKey()
        | beam.MapTuple(lambda key, values: (key, sorted(values))),
    }  # fmt: skip


def reshuffled(root: beam.Pipeline) -> Outputs:
    stamped = create(root, "Numbers", range(5)) | beam.Map(lambda x: TimestampedValue(x, x))
    spread = stamped | beam.Reshuffle()
    seen = spread | "Seen" >> beam.Map(lambda x, time=beam.DoFn.TimestampParam: (x, int(time)))
    pairs = create(root, "Pairs", [("a", 1), ("a", 2), ("b", 3)])
    return {
        "timestamps": seen,
        "keyed": pairs | "Per key" >> beam.transforms.util.ReshufflePerKey(),
        "types": spread | "Types" >> beam.Map(lambda x: (str(x), x)) | "Again" >> beam.Reshuffle(),
        "created": root | beam.Create(["x", "y", "z"]),
    }


def stamped_groups(root: beam.Pipeline) -> Outputs:
    stamped = create(root, "Pairs", [("a", 1), ("a", 2)]) | beam.Map(lambda pair: TimestampedValue(pair, pair[1]))
    window = beam.DoFn.WindowParam
    groups = stamped | beam.GroupByKey()
    return {
        # Beam's coder keeps milliseconds.
        "times": groups | "Time" >> beam.Map(lambda x, time=beam.DoFn.TimestampParam: time.micros // 1000),
        "windows": groups | "Window" >> beam.Map(lambda x, found=window: isinstance(found, GlobalWindow)),
    }


class LifeCycle(beam.DoFn):
    """Yields the order of the calls that it gets, up to the end of its bundle."""

    def __init__(self) -> None:
        self.calls = ["init"]

    def setup(self) -> None:
        self.calls.append("setup")

    def start_bundle(self) -> None:
        self.calls.append("start")

    def process(self, element: int) -> None:
        self.calls.append(f"process {element}")

    def finish_bundle(self) -> Iterator[Any]:
        from apache_beam.utils.windowed_value import WindowedValue

        yield WindowedValue(" ".join(self.calls), Timestamp(0), [GlobalWindow()])


class Source(beam.io.iobase.BoundedSource):
    """The numbers from `start` to `stop`, in parts of two."""

    def __init__(self, start: int, stop: int) -> None:
        self._start, self._stop = start, stop

    def estimate_size(self) -> int:
        return self._stop - self._start

    def get_range_tracker(self, start: int | None, stop: int | None) -> Any:
        first = self._start if start is None else start
        return beam.io.range_trackers.OffsetRangeTracker(first, self._stop if stop is None else stop)

    def split(self, desired: int, start: int | None = None, stop: int | None = None) -> Iterator[Any]:
        for first in range(self._start, self._stop, 2):
            yield beam.io.iobase.SourceBundle(2, self, first, min(first + 2, self._stop))

    def read(self, tracker: Any) -> Iterator[int]:
        number = tracker.start_position()
        while tracker.try_claim(number):
            yield number
            number += 1


def large(root: beam.Pipeline) -> Outputs:
    """Outputs larger than Beam's buffers of 10 MB."""
    texts = create(root, "Sizes", [4_000_000] * 6) | beam.Map(lambda size: b"x" * size)
    shuffled = texts | beam.Reshuffle()
    return {"sizes": shuffled | "Size" >> beam.Map(len)}


def many(root: beam.Pipeline) -> Outputs:
    """More elements than a shuffle deals evenly."""
    numbers = create(root, "Start", [0]) | beam.FlatMap(lambda _: range(25_000)) | beam.Reshuffle()
    return {"sum": numbers | beam.CombineGlobally(sum), "count": numbers | beam.combiners.Count.Globally()}


CASES = {
    "create": Case(
        "fn_runner test_create; create_test",
        lambda root: {"three": root | beam.Create([1, "a", None]), "none": create(root, "None", [])},
        {"three": ["a", 1, None], "none": []},
    ),
    "par_do": Case(
        "fn_runner test_pardo; ptransform_test test_do_with_…, test_flat_map, test_filter",
        lambda root: {
            "mapped": create(root, "Words", ["a b", "c"]) | beam.FlatMap(str.split) | beam.Map(lambda x: x + "!"),
            "kept": create(root, "Numbers", range(6)) | beam.Filter(lambda x: x % 3 == 0),
        },
        {"mapped": ["a!", "b!", "c!"], "kept": [0, 3]},
    ),
    "tagged_outputs": Case(
        "fn_runner test_pardo_side_outputs, test_pardo_side_and_main_outputs; ptransform_test",
        tagged,
        {"main": [1, 2, 3], "large": [2, 3], "all": ["1", "2", "3"]},
    ),
    "group_by_key": Case(
        "fn_runner test_group_by_key; ptransform_test test_group_by_key, test_group_by_key_reiteration",
        grouped,
        {"groups": [("", [0], 0), ("a", [1, 3], 4), ("b", [2], 2)]},
    ),
    "group_by_keys_of_types": Case(
        "ptransform_test test_group_by_key_allow_non_deterministic_…; fn_runner test_gbk_many_values",
        keys_of_types,
        {"groups": [((1, "a"), [1, 2]), ((1, "b"), [4]), (None, [3])]},
    ),
    "co_group_by_key": Case("util_test CoGroupByKeyTest", joined, {"joined": [("a", [1], ["x", "y"]), ("b", [2], [])]}),
    "side_inputs": Case(
        "fn_runner test_pardo_side_inputs, test_pardo_side_input_dictionary, test_multimap_side_input, "
        "test_multimap_multiside_input; sideinputs_test",
        side_inputs,
        {
            "singleton": [6, 7],
            "default": [(1, "none"), (2, "none")],
            "iterable": [(1, 30, 30), (2, 30, 30)],
            "list": [(1, [10, 20], 2), (2, [10, 20], 2)],
            "dict": ["one", "two"],
            "multimap": [(1, ["a", "b"]), (2, [])],
            "several": [(1, 7, [10, 20], "-"), (2, 7, [10, 20], "-")],
        },
    ),
    "side_input_of_groups": Case(
        "fn_runner test_gbk_side_input, test_flattened_side_input",
        side_input_of_groups,
        {"grouped": [5], "flattened": [[1, 2]]},
    ),
    "own_output_as_side_input": Case(
        "fn_runner test_pardo_side_input_dependencies, test_pardo_side_input_sparse_dependencies",
        own_output_as_side_input,
        {"shares": [(2, 12), (4, 12), (6, 12)]},
    ),
    "combine": Case(
        "fn_runner test_combine_per_key, test_combine_globally; combiners_test; ptransform_test test_combine_…",
        combined,
        {
            "sum": [45],
            "mean": [(0, 4.0), (1, 5.0)],
            "empty": [0],
            "without_defaults": [],
            "count": [10],
            "list": [list(range(10))],
            "top": [[9, 8]],
            "values": [(0, 8), (1, 9)],
            "side": [10],
        },
    ),
    "flatten": Case(
        "fn_runner test_flatten, test_flatten_same_pcollections; ptransform_test test_flatten_…",
        flattened,
        {
            "both": [1, 2, 3],
            "same": [1, 1, 2, 2],
            "single": [3],
            "nothing": [],
            "types": ["'a'", "1", "2"],
            "grouped": [(0, [2]), (1, [1, 3])],
        },
    ),
    "reshuffle": Case(
        "fn_runner test_reshuffle, test_reshuffle_preserves_timestamps; util_test ReshuffleTest",
        reshuffled,
        {
            "timestamps": [(n, n) for n in range(5)],
            "keyed": [("a", 1), ("a", 2), ("b", 3)],
            "types": [(str(n), n) for n in range(5)],
            "created": ["x", "y", "z"],
        },
    ),
    "timestamps_of_groups": Case(
        "fn_runner test_windowing (global window)",
        stamped_groups,
        {"times": [GlobalWindow().max_timestamp().micros // 1000], "windows": [True]},
    ),
    "life_cycle": Case(
        "dofn_lifecycle_test; fn_runner test_pardo_unfusable_side_inputs, test_start_and_finish_bundle",
        lambda root: {"calls": create(root, "Numbers", [1, 2]) | beam.ParDo(LifeCycle())},
        {"calls": ["init setup start process 1 process 2"]},
    ),
    "bounded_read": Case(
        "fn_runner test_read; io/iobase_test SDFBoundedSourceRestriction…",
        lambda root: {"numbers": root | beam.io.Read(Source(0, 7))},
        {"numbers": list(range(7))},
    ),
    "large_elements": Case("fn_runner test_large_elements", large, {"sizes": [4_000_000] * 6}),
    "many_elements": Case("fn_runner test_gbk_many_values", many, {"sum": [312_487_500], "count": [25_000]}),
}


@pytest.mark.parametrize("name", CASES)
def test_beams_model(name: str, master: str, tmp_path: Path) -> None:
    case = CASES[name]

    outputs, _ = run(master, tmp_path, case.build)

    assert outputs == {key: sorted(values, key=repr) for key, values in case.expected.items()}


class Measured(beam.DoFn):
    def process(self, element: int) -> Iterable[int]:
        Metrics.counter("test", "elements").inc()
        Metrics.distribution("test", "values").update(element)
        yield element


def test_metrics_count_every_element_once(master: str, tmp_path: Path) -> None:
    """`fn_runner` test_metrics, test_custom_metrics; over several tasks, and read by two later stages."""

    def build(root: beam.Pipeline) -> Outputs:
        measured = root | beam.Create(range(20)) | beam.ParDo(Measured())
        return {"one": measured | "1" >> beam.Reshuffle(), "other": measured | "2" >> beam.Reshuffle()}

    outputs, result = run(master, tmp_path, build)

    found = result.metrics().query(MetricsFilter().with_namespace("test"))
    assert [counter.committed for counter in found["counters"]] == [20]
    (distribution,) = (each.committed for each in found["distributions"])
    assert (distribution.sum, distribution.count, distribution.min, distribution.max) == (190, 20, 0, 19)
    assert outputs["one"] == outputs["other"] == sorted(range(20), key=repr)


class Slow(Measured):
    """Tells that it has begun, and takes its time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def process(self, element: int) -> Iterable[int]:
        (self._folder / f"began-{element}").touch()
        time.sleep(0.2)
        return super().process(element)


def test_a_killed_worker_is_neither_missed_nor_counted_twice(cluster: Path, master: str, tmp_path: Path) -> None:
    def build(root: beam.Pipeline) -> Outputs:
        return {"all": root | beam.Create(range(24)) | beam.ParDo(Slow(tmp_path)) | beam.Reshuffle()}

    # Some tasks are finished by then: what they had on the killed worker is lost.
    with one_killed_when(lambda: len(list(tmp_path.glob("began-*"))) > 12, cluster) as killed:
        outputs, result = run(master, tmp_path, build)

    assert killed
    assert outputs["all"] == sorted(range(24), key=repr)
    (counter,) = result.metrics().query(MetricsFilter().with_name("elements"))["counters"]
    assert counter.committed == 24


class TornDown(beam.DoFn):
    """Fails at its element, and leaves a file when it is torn down."""

    def __init__(self, folder: Path, error: type[Exception]) -> None:
        self._folder, self._error = folder, error

    def process(self, element: int) -> None:
        raise self._error(f"element {element} of 'this \\ \"folder\"'\ncannot be used")

    def teardown(self) -> None:
        (self._folder / f"{os.getpid()}-{id(self)}").touch()


def failing(folder: Path, error: type[Exception]) -> Callable[[beam.Pipeline], Outputs]:
    return lambda root: {"none": create(root, "One", [1]) | "Fail" >> beam.ParDo(TornDown(folder, error))}


def test_a_mistake_of_the_user_arrives_as_such(master: str, tmp_path: Path) -> None:
    """`fn_runner` test_error_message_includes_stage; dofn_lifecycle_test: teardown after an error."""
    with pytest.raises(UserError, match=r"element 1 of 'this \\ \"folder\"'\ncannot be used \[while running 'Fail'\]"):
        run(master, tmp_path, failing(tmp_path, UserError))

    assert [path for path in tmp_path.iterdir() if path.is_file()]


def test_another_error_names_its_type_and_step(master: str, tmp_path: Path) -> None:
    """`fn_runner` test_error_traceback_includes_user_code."""
    with pytest.raises(SparkJobError, match=r"^ValueError: element 1 of (.|\n)*while running 'Fail'(.|\n)*in process"):
        run(master, tmp_path, failing(tmp_path, ValueError))
