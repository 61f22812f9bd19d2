"""Independent trainings in two processes: at the same time, with the same results, and nothing lost when one ends."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from dermrobust.components.progress import Task
from dermrobust.pipeline import beside
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.history import recent_runs
from dermrobust.pipeline.outcomes import RunResult
from dermrobust.pipeline.runner import run_pipeline
from tests.pipeline.conftest import Listening
from tests.pipeline.meeting_stages import LONG, graph

ONE, TWO = "train[one]", "train[two]"
PROGRAM = """
import sys
from pathlib import Path
from typing import Any
from dermrobust.pipeline import beside, runner
from dermrobust.pipeline.cli.main import main
from tests.pipeline.meeting_stages import LONG, graph

beside._FREE_GIB = 0
runner.build_graph = lambda config: graph(Path(sys.argv[2]), elsewhere="sleep")
main(["run", "--to", "train", "--set", f"root={sys.argv[1]}", "--set", "preprocess.image_size=32"])
"""


class Shown(Listening):
    """Progress that keeps what is told of tasks, too."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: dict[str, list[object]] = {}

    @contextlib.contextmanager
    def task(self, description: str, total: int | None, unit: str) -> Iterator[Task]:
        told = self.tasks.setdefault(description, [total, unit])

        class Told:
            def advance(self, amount: int = 1) -> None:
                told.append(amount)

            def note(self, text: str) -> None:
                told.append(text)

        yield Told()
        told.append("over")


@pytest.fixture
def signs(tmp_path: Path) -> Path:
    """The folder in which stages leave the id of their process."""
    folder = tmp_path / "signs"
    folder.mkdir()
    return folder


@pytest.fixture
def run(signs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunResult]:
    """A function that runs the small pipeline, whatever memory is free."""
    monkeypatch.setattr(beside, "_FREE_GIB", 0.0)

    def run(progress: Listening | None = None, *, second_process: bool = True, size: int = 32, **how: Any) -> RunResult:
        config = PipelineConfig(
            root=str(tmp_path / "output"), second_process=second_process, preprocess={"image_size": size}
        )
        monkeypatch.setattr("dermrobust.pipeline.runner.build_graph", lambda config: graph(signs, **how))
        return run_pipeline(config, progress or Listening(), first="ingest", last="export", force=False)

    return run


def processes(signs: Path) -> dict[str, int]:
    return {sign.name: int(sign.read_text()) for sign in signs.iterdir()}


def statuses(result: RunResult) -> dict[str, str]:
    return {node.node: node.status for node in result.nodes}


def test_trainings_run_at_the_same_time_and_their_progress_is_shown(
    run: Callable[..., RunResult], signs: Path, tmp_path: Path
) -> None:
    progress = Shown()

    result = run(progress)

    assert set(statuses(result).values()) == {"done"}
    ran = processes(signs)
    assert ran.pop(TWO) != os.getpid()
    assert set(ran.values()) == {os.getpid()}
    assert progress.tasks[ONE] == progress.tasks[TWO] == [2, "parts", 1, "half", 1, "over"]
    assert {f"{TWO}: written", f"{ONE}: written"} < set(progress.lines)
    assert sum(line.startswith(f"{TWO}: done in") for line in progress.lines) == 1
    (recorded,) = recent_runs(PipelineConfig(root=str(tmp_path / "output")), 10)
    assert recorded["status"] == "succeeded"
    assert not [child for child in psutil.Process().children() if "second_process" in " ".join(child.cmdline())]
    assert set(statuses(run()).values()) == {"cached"}


def test_threads_of_the_second_process_may_report_at_the_same_time(run: Callable[..., RunResult]) -> None:
    progress = Shown()

    result = run(progress, reports=500)

    assert set(statuses(result).values()) == {"done"}
    assert not [line for line in progress.lines if "second process" in line]
    assert progress.tasks[TWO].count(LONG) == 500


@pytest.mark.parametrize(
    ("what", "code", "message"),
    [("mistake", 2, "choose another number"), ("error", 1, "ZeroDivisionError: nothing is left")],
)
def test_a_failure_in_the_second_process_is_told_as_one_in_the_first(
    what: str, code: int, message: str, run: Callable[..., RunResult]
) -> None:
    result = run(elsewhere=what)

    found = statuses(result)
    assert (found[ONE], found[TWO], found["evaluate"]) == ("done", "failed", "skipped")
    failed = next(node for node in result.nodes if node.node == TWO)
    assert (failed.exit_code, result.exit_code) == (code, code)
    assert message in failed.message
    if what == "error":
        assert "in _elsewhere" in Path(failed.message.rpartition(" is in ")[2]).read_text()


def test_work_of_a_second_process_that_dies_is_done_by_the_first(run: Callable[..., RunResult], signs: Path) -> None:
    progress = Listening()

    result = run(progress, elsewhere="kill")

    assert set(statuses(result).values()) == {"done"}
    assert set(processes(signs).values()) == {os.getpid()}
    assert "run: the second process has ended (EOFError); this one goes on without it" in progress.lines


def test_one_process_does_all_where_two_are_not_wanted(
    run: Callable[..., RunResult], signs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(second_process=False, meet=False)
    assert set(processes(signs).values()) == {os.getpid()}

    for sign in signs.iterdir():
        sign.unlink()
    run(meet=False, elsewhere="large", size=33)
    assert set(processes(signs).values()) == {os.getpid()}

    for place, value in (("_FREE_GIB", 1e6), ("_cores", lambda: 1)):
        with monkeypatch.context() as patch:
            patch.setattr(beside, place, value)
            # Other ids of processes are other parameters, so that nothing is reused.
            for sign in signs.iterdir():
                sign.unlink()
            run(meet=False, elsewhere=place)
            assert set(processes(signs).values()) == {os.getpid()}


@pytest.mark.slow
def test_two_processes_train_the_same_models_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "_FREE_GIB", 0.0)
    digests = []
    for second_process in (False, True):
        config = PipelineConfig.model_validate(
            {
                "root": str(tmp_path / f"{second_process}"),
                "second_process": second_process,
                "ingest": {"dataset": {"dataset": "synthetic", "count": 120}},
                "preprocess": {"image_size": 16},
                "train": {"network": "tiny", "epochs": 2, "warmup_epochs": 0, "xla": False},
                "defences": {"fast": {"objective": "fast"}},
            }
        )
        result = run_pipeline(config, Listening(), first="ingest", last="train", force=False)
        assert result.exit_code == 0, result.nodes
        digests.append(
            {node.node: [(name, made.digest) for name, made in node.outputs.items()] for node in result.nodes}
        )

    assert digests[0] == digests[1]
    assert "train[fast]" in digests[0]


def test_a_run_goes_on_where_no_process_can_be_started(
    run: Callable[..., RunResult], signs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(subprocess, "Popen", refuse)
    progress = Listening()

    result = run(progress, meet=False)

    assert set(statuses(result).values()) == {"done"}
    assert "run: no second process could be started: [Errno 11] Resource temporarily unavailable" in progress.lines


@pytest.fixture
def started(signs: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], psutil.Process]]:
    """A run whose second process is at work, and that process."""
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "output"), str(signs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as first:
        try:
            deadline = time.monotonic() + 60
            while not (signs / TWO).exists() or not (signs / TWO).read_text():
                assert first.poll() is None and time.monotonic() < deadline
                time.sleep(0.05)
            yield first, psutil.Process(processes(signs)[TWO])
        finally:
            first.kill()


def test_an_interrupted_run_leaves_nothing_of_its_second_process(
    started: tuple[subprocess.Popen[str], psutil.Process], tmp_path: Path
) -> None:
    first, second = started

    first.send_signal(signal.SIGTERM)

    _, told = first.communicate(timeout=30)
    assert first.returncode == 143
    assert told.splitlines()[-1].startswith("interrupted: finished work is kept")
    assert "second process" not in told
    assert "Traceback" not in told
    assert not runs(second)
    assert not list((tmp_path / "output" / "staging").iterdir())


def test_the_second_process_ends_with_a_first_one_that_is_killed(
    started: tuple[subprocess.Popen[str], psutil.Process],
) -> None:
    first, second = started

    first.kill()
    first.wait()

    deadline = time.monotonic() + 10
    while runs(second):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def runs(process: psutil.Process) -> bool:
    try:
        # Its new parent may not ask for its exit code.
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
