"""Execution of a bundle in a Python worker of Spark, by Beam's own bundle processor."""

from __future__ import annotations

import contextlib
import functools
import itertools
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from apache_beam.coders.coder_impl import CoderImpl, create_InputStream
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.worker import data_plane, sdk_worker
from apache_beam.runners.worker.bundle_processor import BundleProcessor

from dermrobust.components.runners.spark.agreement import Agreement
from dermrobust.components.runners.spark.errors import marking_user_errors

Keyed = tuple[str, bytes]
"""Name of a transform that reads or writes, and encoded elements."""

_AHEAD = 4
"""Buffers, of up to 10 MB each, that wait for Spark; a bundle that yields faster pauses."""


@dataclass(frozen=True)
class RunBundle:
    """Runs the transforms of a fused stage on the elements of a partition.

    Attributes:
        descriptor: serialized `ProcessBundleDescriptor` of the stage.
        side_inputs: broadcast of the encoded side inputs by their serialized state keys; None: there are none.
        agreement: what this process must agree with.
        metrics: accumulator of serialized `ProcessBundleResponse`s by (id of the stage, partition).
    """

    descriptor: bytes
    side_inputs: Any
    agreement: Agreement
    metrics: Any

    def __call__(self, partition: int, elements: Iterator[Keyed]) -> Iterator[Keyed]:
        """Yield the outputs; an empty partition is no bundle."""
        first = next(elements, None)
        if first is None:
            return
        with marking_user_errors():
            self.agreement.check()
        descriptor = beam_fn_api_pb2.ProcessBundleDescriptor.FromString(self.descriptor)
        run = functools.partial(self._run, descriptor)
        response = yield from _outputs_while_running(run, itertools.chain([first], elements))
        self.metrics.add({(descriptor.id, partition): response})

    def _run(self, descriptor: beam_fn_api_pb2.ProcessBundleDescriptor, channel: _Channel) -> bytes:
        """Process the elements of a channel and return a serialized `ProcessBundleResponse` with the metrics."""
        factory = data_plane.InMemoryDataChannelFactory(channel)
        side_inputs = _SideInputs({} if self.side_inputs is None else self.side_inputs.value)
        processor = BundleProcessor(frozenset(), descriptor, side_inputs, factory)
        try:
            postponed, _ = processor.process_bundle(descriptor.id)
            if postponed:
                raise NotImplementedError("a splittable DoFn has postponed a part of its work")
            metrics = processor.monitoring_infos()
            return beam_fn_api_pb2.ProcessBundleResponse(monitoring_infos=metrics).SerializeToString()
        finally:
            processor.shutdown()


class Latest:
    """Parameters of an accumulator of dictionaries.

    A partition that is computed again replaces its entry, where a sum would count it twice.
    """

    def zero(self, value: dict[Any, Any]) -> dict[Any, Any]:
        """Return an empty dictionary."""
        del value
        return {}

    def addInPlace(self, value: dict[Any, Any], more: dict[Any, Any]) -> dict[Any, Any]:  # noqa: N802
        """Add entries; this is the name in PySpark's protocol."""
        value.update(more)
        return value


class _SideInputs(sdk_worker.CachingStateHandler):
    """Side inputs as Beam's workers read them; there is no other state."""

    def __init__(self, content: Mapping[bytes, bytes]) -> None:
        self._content = content

    def blocking_get(self, state_key: Any, coder: CoderImpl) -> Iterator[Any]:
        """Yield the elements of a side input, of which an absent one has none."""
        stream = create_InputStream(self._content.get(state_key.SerializeToString(deterministic=True), b""))
        while stream.size() > 0:
            yield coder.decode_from_stream(stream, True)

    @contextlib.contextmanager
    def process_instruction_id(self, bundle_id: str, cache_tokens: Iterable[Any]) -> Iterator[None]:
        """Do nothing: side inputs are the same for all bundles."""
        del bundle_id, cache_tokens
        yield

    def extend(self, state_key: Any, coder: CoderImpl, elements: Iterable[Any]) -> Any:
        """Refuse: side inputs are not written."""
        raise NotImplementedError("state")

    def clear(self, state_key: Any) -> Any:
        """Refuse: side inputs are not written."""
        raise NotImplementedError("state")

    def done(self) -> None:
        """Do nothing."""


class _Abandoned(Exception):
    """Raised in the bundle's thread when Spark stops reading its outputs."""


@dataclass(frozen=True)
class _End:
    """End of a bundle: what it returned, or the error that it raised."""

    response: bytes = b""
    error: BaseException | None = None


class _Channel(data_plane.DataChannel):
    """Data channel that reads the elements of a partition and hands outputs to another thread."""

    def __init__(self, elements: Iterator[Keyed]) -> None:
        self._elements = elements
        self.outputs: queue.Queue[Keyed | _End] = queue.Queue(_AHEAD)
        self.abandoned = threading.Event()

    def put(self, item: Keyed | _End) -> None:
        """Hand an output on, or the end of the bundle."""
        while not self.abandoned.is_set():
            with contextlib.suppress(queue.Full):
                return self.outputs.put(item, timeout=1)
        raise _Abandoned

    def input_elements(
        self, instruction_id: str, expected_inputs: Any, abort_callback: Any = None
    ) -> Iterator[beam_fn_api_pb2.Elements.Data]:
        """Yield the elements of the partition."""
        del expected_inputs, abort_callback
        for transform, data in self._elements:
            yield beam_fn_api_pb2.Elements.Data(instruction_id=instruction_id, transform_id=transform, data=data)

    def output_stream(self, instruction_id: str, transform_id: str) -> data_plane.ClosableOutputStream:
        """Return a stream that hands on what is written to it."""
        del instruction_id

        def hand_on(data: bytes) -> None:
            if data:
                self.put((transform_id, data))

        return data_plane.ClosableOutputStream.create(hand_on, hand_on, 0)

    def output_timer_stream(self, instruction_id: str, transform_id: str, timer_family_id: str) -> Any:
        """Refuse: timers are not supported."""
        raise NotImplementedError("timers")

    def close(self) -> None:
        """Do nothing."""


def _outputs_while_running(
    run: Callable[[_Channel], bytes], elements: Iterator[Keyed]
) -> Generator[Keyed, None, bytes]:
    """Yield what `run` writes to its channel, while it runs, and return what it returns.

    A bundle pushes its outputs and Spark pulls them, so the bundle has a thread of its own.
    """
    channel = _Channel(elements)

    def work() -> None:
        try:
            with marking_user_errors():
                end = _End(run(channel))
        except BaseException as error:
            end = _End(error=error)
        with contextlib.suppress(_Abandoned):
            channel.put(end)

    thread = threading.Thread(target=work, name="bundle", daemon=True)
    thread.start()
    try:
        while not isinstance(item := channel.outputs.get(), _End):
            yield item
    finally:
        channel.abandoned.set()
        thread.join()
    if item.error is not None:
        raise item.error
    return item.response
