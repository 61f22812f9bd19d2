"""Runs of the small pipeline of `small_stages`, and Python's handler of Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dermrobust.components import integrity
from dermrobust.components.progress import Silent
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.outcomes import RunResult
from dermrobust.pipeline.runner import run_pipeline
from tests.pipeline.small_stages import executed, graph, trouble

Run = Callable[..., RunResult]


class Listening(Silent):
    """Progress that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def config(tmp_path: Path) -> PipelineConfig:
    return PipelineConfig(root=str(tmp_path / "output"))


@pytest.fixture
def run(config: PipelineConfig, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """A function that runs the small pipeline as a new process would; keyword arguments are texts of nodes."""

    def run(
        first: str = "ingest", last: str = "export", *, force: bool = False, progress: Any = None, **texts: str
    ) -> RunResult:
        executed.clear()
        # A new process has verified nothing yet.
        integrity._intact.clear()
        monkeypatch.setattr("dermrobust.pipeline.runner.build_graph", lambda config: graph(**texts))
        return run_pipeline(config, progress or Silent(), first=first, last=last, force=force)

    yield run
    trouble.clear()


@pytest.fixture
def python_handles_ctrl_c() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, which it does not in a process that was started in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
