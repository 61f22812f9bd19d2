"""Beam's GroupByKey and Reshuffle as shuffles of Spark."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from apache_beam.coders import Coder
from apache_beam.coders.coder_impl import create_InputStream
from apache_beam.transforms.window import GlobalWindow, GlobalWindows
from apache_beam.utils.windowed_value import PaneInfo, PaneInfoTiming

_DEALT = 10_000
"""Elements of a partition up to which they are dealt evenly; more are spread well enough by their digests."""


def group_by_key(encoded: Any, before: Coder, after: Coder, partitions: int) -> Any:
    """Return an RDD of encoded groups.

    Args:
        encoded: RDD of encoded elements, any number in a value.
        before: coder of the windowed (key, value).
        after: coder of the windowed (key, values).
        partitions: number of partitions of the result.
    """
    keyed = encoded.mapPartitions(_KeyedValues(before))
    # Not Python's hash, which differs between processes.
    return keyed.groupByKey(partitions, zlib.crc32).map(_EncodedGroup(before, after))


def reshuffle(encoded: Any, before: Coder, after: Coder, partitions: int) -> Any:
    """Return an RDD of encoded elements, evenly spread.

    Args:
        encoded: RDD of encoded elements, any number in a value.
        before: coder of the windowed elements.
        after: coder that consumers expect.
        partitions: number of partitions of the result.
    """
    return encoded.mapPartitionsWithIndex(_Spread(before, after)).partitionBy(partitions, int).values()


def _decoded(encoded: Iterable[bytes], coder: Coder) -> Iterator[Any]:
    impl = coder.get_impl()
    for data in encoded:
        stream = create_InputStream(data)
        while stream.size() > 0:
            yield impl.decode_from_stream(stream, True)


@dataclass(frozen=True)
class _KeyedValues:
    coder: Coder

    def __call__(self, encoded: Iterator[bytes]) -> Iterator[tuple[bytes, Any]]:
        key_coder = self.coder.wrapped_value_coder.key_coder().get_impl()
        for windowed in _decoded(encoded, self.coder):
            key, value = windowed.value
            yield key_coder.encode(key), value


@dataclass(frozen=True)
class _EncodedGroup:
    before: Coder
    after: Coder

    def __call__(self, group: tuple[bytes, Iterable[Any]]) -> bytes:
        key, values = group
        pane = PaneInfo(is_first=True, is_last=True, timing=PaneInfoTiming.ON_TIME, index=0, nonspeculative_index=0)
        element = GlobalWindows.windowed_value(
            (self.before.wrapped_value_coder.key_coder().get_impl().decode(key), values),
            timestamp=GlobalWindow().max_timestamp(),
            pane_info=pane,
        )
        encoded: bytes = self.after.get_impl().encode_nested(element)
        return encoded


@dataclass(frozen=True)
class _Spread:
    """Yields (number, element): the partition of an element is its number modulo their count.

    Numbers follow from the contents alone. Spark repeats a task whose output is lost with its worker, and with random
    numbers, which Beam's own expansion uses, or by the order of arrival the repetition would send elements elsewhere:
    some would be processed twice, others never.
    """

    before: Coder
    after: Coder

    def __call__(self, index: int, encoded: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
        impl = self.after.get_impl()
        elements = (impl.encode_nested(windowed) for windowed in _decoded(encoded, self.before))
        few = sorted(itertools.islice(elements, _DEALT))
        more = next(elements, None)
        if more is None:
            # Partitions begin at different places, or the first ones would receive most.
            start = zlib.crc32(str(index).encode())
            yield from ((start + place, element) for place, element in enumerate(few))
        else:
            yield from ((zlib.crc32(element), element) for element in itertools.chain(few, [more], elements))
