"""Executions of components side by side: each is an element of one Beam pipeline, and workers publish the outputs."""

from __future__ import annotations

import contextlib
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Self

import apache_beam as beam
from pydantic import BaseModel, ConfigDict

from dermrobust.attacks.errors import UserError
from dermrobust.components import storage
from dermrobust.components.artifacts import ArtifactStore
from dermrobust.components.beam_runtime import BeamRuntime
from dermrobust.components.execution import Execution
from dermrobust.components.progress import Progress, Silent
from dermrobust.components.worker_error import WorkerError

_SUFFIX = ".json"
_POLL_SECONDS = 1.0
_one_at_a_time = threading.Lock()
"""Held during an execution. Trainings share the global random state of Keras and TensorFlow with all threads of their
process, and some engines run several elements in threads."""
_listeners: dict[str, Callable[[Execution], Progress]] = {}
"""Receivers of progress reports by the folder of outcomes. Workers in other processes find none."""


class Outcome(BaseModel):
    """Outcome of an execution, which travels from a worker to the process that started it.

    Attributes:
        seconds: duration.
        error: text of the error that was raised; None: the outputs are published.
        kind: name of the class of the error.
        mistake: whether it is a `UserError`.
        trace: its traceback.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: float
    error: str | None = None
    kind: str = ""
    mistake: bool = False
    trace: str = ""

    @classmethod
    def failed(cls, error: Exception, seconds: float) -> Self:
        """Return the outcome of an execution that raised an error after some seconds."""
        trace = "".join(traceback.format_exception(error))
        mistake = isinstance(error, UserError)
        return cls(seconds=seconds, error=str(error), kind=type(error).__name__, mistake=mistake, trace=trace)

    def check(self) -> None:
        """Raise the error, if there is one.

        Raises:
            UserError: a mistake of the user.
            WorkerError: another error.
        """
        if self.error is not None:
            raise UserError(self.error) if self.mistake else WorkerError(self.error, self.kind, self.trace)


def run_side_by_side(
    runtime: BeamRuntime,
    executions: Sequence[Execution],
    folder: str,
    *,
    listener: Callable[[Execution], Progress],
    finished: Callable[[str, Outcome], None],
) -> dict[str, Outcome]:
    """Run executions on Beam, and return the outcomes by fingerprint; a failure does not stop the others.

    Args:
        runtime: the Beam engine; its root is that of the artifacts.
        executions: executions of different fingerprints.
        folder: folder or URI below the root for the outcomes, for this call alone; it is removed at the end.
        listener: function from an execution to the receiver of its reports, where workers are in this process.
        finished: called from another thread with a fingerprint and the outcome as soon as this process sees it.

    Returns:
        The outcomes. If the pipeline itself failed, an execution without an outcome has the pipeline's error.

    Raises:
        UserError: the engine cannot be used.
    """
    _listeners[folder] = listener
    try:
        with _watched(folder, finished):
            failed = _run_pipeline(runtime, executions, folder)
        found = {each.fingerprint: _outcome_uri(folder, each.fingerprint) for each in executions}
        return {key: _read(uri) if storage.exists(uri) else failed for key, uri in found.items()}
    finally:
        del _listeners[folder]
        storage.remove(folder)


def _run_pipeline(runtime: BeamRuntime, executions: Sequence[Execution], folder: str) -> Outcome:
    """Run the pipeline, and return the outcome of executions that have none of their own after it."""
    assert runtime.root is not None
    started = time.monotonic()
    try:
        with runtime.pipeline() as root:
            _ = (
                root
                | "Executions" >> beam.Create(executions)
                # Beam fuses the steps of a pipeline: without this one worker would do all of them.
                | "Spread" >> beam.Reshuffle()
                | "Execute" >> beam.ParDo(_Execute(runtime.root, folder))
            )
    except UserError:
        raise
    except Exception as error:
        return Outcome.failed(error, time.monotonic() - started)
    return Outcome(seconds=0.0, error="the pipeline ended without an outcome", kind="RuntimeError")


@contextlib.contextmanager
def _watched(folder: str, finished: Callable[[str, Outcome], None]) -> Iterator[None]:
    """Call a function with each outcome that appears in a folder while the context is open.

    Beam offers no callback that reaches this process from workers elsewhere; the files that they write do.
    """
    over = threading.Event()

    def watch() -> None:
        seen: set[str] = set()
        while not over.wait(_POLL_SECONDS):
            for name in storage.list_files(folder):
                if name.endswith(_SUFFIX) and name not in seen:
                    seen.add(name)
                    finished(name.removesuffix(_SUFFIX), _read(storage.join(folder, name)))

    watcher = threading.Thread(target=watch, name="outcomes", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _read(uri: str) -> Outcome:
    return Outcome.model_validate_json(storage.read_bytes(uri))


def _outcome_uri(folder: str, key: str) -> str:
    return storage.join(folder, key + _SUFFIX)


class _Execute(beam.DoFn):
    """Does the work of an execution and writes its outcome."""

    def __init__(self, root: str, folder: str) -> None:
        self._root, self._folder = root, folder

    def process(self, execution: Execution) -> Iterator[None]:
        uri = _outcome_uri(self._folder, execution.fingerprint)
        # An engine repeats elements whose results are lost with their worker.
        if not storage.exists(uri):
            with _one_at_a_time:
                outcome = self._outcome(execution)
            storage.write_bytes(uri, outcome.model_dump_json().encode())
        yield from ()

    def _outcome(self, execution: Execution) -> Outcome:
        listener = _listeners.get(self._folder, _nobody)
        store = ArtifactStore(self._root)
        started = time.monotonic()
        try:
            # A worker may have died between the publication and the outcome.
            if not all(store.find(type_, execution.fingerprint) for type_ in execution.component.outputs.values()):
                execution.run(store, BeamRuntime(), listener(execution))
        except Exception as error:
            return Outcome.failed(error, time.monotonic() - started)
        return Outcome(seconds=time.monotonic() - started)


def _nobody(execution: Execution) -> Progress:
    del execution
    return Silent()
