"""Faults of disks and files end in a clear state with one message."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import itertools
import os
import re
import resource
import shutil
import signal
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dermrobust.attacks.errors import UserError
from dermrobust.components import storage
from dermrobust.components.artifacts import ArtifactType
from dermrobust.components.ingest.raw_content import files_digest
from dermrobust.components.progress import Silent
from dermrobust.pipeline.cli.main import main
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.history import recent_runs
from dermrobust.pipeline.ledger import Ledger
from dermrobust.pipeline.local_files import ledger_path
from dermrobust.pipeline.outcomes import RunResult
from dermrobust.pipeline.runner import run_pipeline
from tests.pipeline.conftest import Listening, Run
from tests.pipeline.small_stages import TEXT, executed, graph, trouble

Command = Callable[..., Result]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    monkeypatch.setattr("dermrobust.pipeline.runner.build_graph", lambda config: graph())

    def run(*arguments: str, root: Path = tmp_path / "output") -> Result:
        return CliRunner().invoke(main, [*arguments, "--set", f"root={root}"])

    yield run
    trouble.clear()


def refused(result: Result, *told: str) -> None:
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.stderr
    assert all(text in result.stderr for text in told), result.stderr


@pytest.mark.parametrize("arguments", [("run",), ("runs",), ("show", "metrics"), ("report",), ("verify",)])
def test_a_root_that_is_a_file_is_told(arguments: tuple[str, ...], command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    result = command(*arguments, root=tmp_path / "file")

    refused(result, str(tmp_path / "file"))


def foreign(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE runs (name TEXT)")
    connection.close()


@pytest.mark.parametrize("arguments", [("run",), ("runs",), ("show", "metrics"), ("report",)])
@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b"x" * 5000), foreign], ids=["corrupt", "foreign"])
def test_a_file_that_is_no_ledger_is_named(
    spoil: Callable[[Path], object], arguments: tuple[str, ...], command: Command, tmp_path: Path
) -> None:
    (tmp_path / "output").mkdir()
    ledger = tmp_path / "output" / "ledger.sqlite"
    spoil(ledger)
    before = ledger.read_bytes()

    refused(command(*arguments), f"the ledger '{ledger}' cannot be used", "moved away")
    if len(before) == 5000:
        assert ledger.read_bytes() == before


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/somewhere")


def wrapped() -> None:
    # As Beam raises errors of its workers again.
    raise RuntimeError("OSError: [Errno 28] No space left on device: '/somewhere' [while running 'Write']")


@pytest.mark.parametrize("error", [full, wrapped])
def test_a_full_disk_is_told_and_the_run_can_go_on(error: Callable[[], None], command: Command, tmp_path: Path) -> None:
    trouble["train[one]"] = error

    refused(command("run"), "train[one]: No space left on device. Make room and run the same command again")
    assert not list((tmp_path / "output" / "logs").glob("*/train*"))
    trouble.clear()

    assert command("run").exit_code == 0


def test_a_mistake_that_tensorflow_passes_on_is_one_message(command: Command) -> None:
    """A function that TensorFlow calls, such as one that asks a served model, cannot raise through it."""

    def passed_on() -> None:
        raise RuntimeError("Graph execution error:\n\nUserError: http://host/skin:predict answers 400: no\nTraceback")

    trouble["train[one]"] = passed_on

    refused(command("run"), "train[one]: http://host/skin:predict answers 400: no")


def test_a_full_disk_that_the_ledger_is_on_does_not_hide_the_reason(
    command: Command, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The ledger's own error comes after the real one."""
    real = sqlite3.connect

    def fill_up() -> None:
        def connect(*arguments: object, **options: object) -> sqlite3.Connection:
            raise sqlite3.OperationalError("database or disk is full")

        monkeypatch.setattr("sqlite3.connect", connect)
        full()

    trouble["train[one]"] = fill_up
    result = command("run")
    monkeypatch.setattr("sqlite3.connect", real)

    assert result.exit_code == 2
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert errors == [
        "error: train[one]: No space left on device. Make room and run the same command again; finished work is kept"
    ]
    assert "this is not recorded: the ledger" in capfd.readouterr().err
    assert "Traceback" not in result.output


def test_a_crash_whose_traceback_cannot_be_written_is_still_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dermrobust.pipeline.runner.build_graph", lambda config: graph())
    (tmp_path / "logs").write_bytes(b"a file where a folder belongs")

    def crash() -> None:
        raise ValueError("the reason")

    trouble["ingest"] = crash
    result: RunResult = run_pipeline(
        PipelineConfig(root=str(tmp_path)), Silent(), first="ingest", last="ingest", force=False
    )
    trouble.clear()

    assert result.exit_code == 1
    (message,) = [node.message for node in result.nodes if node.status == "failed"]
    assert message.startswith("ingest failed: ValueError: the reason\nThe traceback could not be written")


# Permissions

_OVERRIDING = 0b1110
"""Capabilities of Linux by which root may read and write whatever a file's mode says, and change it."""
_CAPABILITIES_3 = 0x20080522


@contextlib.contextmanager
def without_privileges() -> Iterator[None]:
    """Let modes of files count for root, too, in this thread and those that it starts."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, before = (ctypes.c_uint32 * 2)(_CAPABILITIES_3, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, before) == 0
    reduced = (ctypes.c_uint32 * 6)(*before)
    reduced[0] &= ~_OVERRIDING
    assert libc.capset(header, reduced) == 0
    try:
        yield
    finally:
        assert libc.capset(header, before) == 0


@pytest.fixture
def closed() -> Iterator[Callable[[Path, int], None]]:
    """A function that changes the modes of a folder and all below it, until the test ends."""
    changed: dict[Path, int] = {}

    def close(place: Path, mask: int) -> None:
        for path in (place, *place.rglob("*")):
            changed[path] = path.stat().st_mode
        for path, mode in changed.items():
            path.chmod(mode & mask)

    yield close
    for path, mode in changed.items():
        path.chmod(mode)


def test_a_root_that_is_read_only_is_told_even_if_all_is_cached(
    command: Command, closed: Callable[[Path, int], None], tmp_path: Path
) -> None:
    assert command("run").exit_code == 0
    executed.clear()
    closed(tmp_path / "output", 0o555)

    with without_privileges():
        refused(command("run"), "Permission denied", str(tmp_path / "output"))
        listed = command("runs")
        refused(command("run", root=tmp_path / "output" / "another"), "Permission denied")

    assert executed == []
    assert listed.exit_code == 0, listed.output


def test_a_result_that_may_not_be_read_is_told(
    command: Command, closed: Callable[[Path, int], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert command("run", "--to", "preprocess").exit_code == 0
    monkeypatch.setattr("dermrobust.components.integrity._intact", set())
    (text,) = [path for path in (tmp_path / "output" / "artifacts").rglob(TEXT) if len(path.read_text()) > 10]
    closed(text, 0o000)

    with without_privileges():
        result = command("run", "--to", "train")

    told = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert result.exit_code == 2
    # The two run side by side, so either may be the first to fail.
    assert re.match(r"error: train\[(one|two)\]: ", told[0])
    assert f": Permission denied: '{text}'. Give access and run the same command again" in told[0]
    assert "Traceback" not in result.output


# Descriptors, disks and devices


def test_a_process_that_has_no_file_descriptors_left_says_so(
    command: Command, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    opened: list[int] = []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def exhaust() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 300), hard))
        # Until an error is raised.
        opened.extend(os.open("/dev/null", os.O_RDONLY) for _ in range(400))

    def release() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for number in opened:
            os.close(number)
        opened.clear()

    trouble["evaluate"] = exhaust
    try:
        result = command("run", "--to", "evaluate")
    finally:
        release()
    trouble.clear()

    refused(result, "evaluate: Too many open files. Allow more open files (ulimit -n)")
    capfd.readouterr()
    assert command("run").exit_code == 0


@pytest.mark.parametrize(("failures", "exit_code"), [(1, 0), (100, 2)], ids=["once", "always"])
def test_a_rename_is_tried_twice(
    failures: int, exit_code: int, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real, calls = storage.move, itertools.count()

    def move(source: str, target: str) -> None:
        if "/artifacts/" in target and next(calls) < failures:
            raise OSError(errno.EIO, os.strerror(errno.EIO), source)
        real(source, target)

    monkeypatch.setattr("dermrobust.components.storage.move", move)
    result = command("run", "--to", "ingest")
    monkeypatch.setattr("dermrobust.components.storage.move", real)

    assert result.exit_code == exit_code, result.output
    assert next(calls) == 2
    if exit_code:
        refused(result, "ingest: Input/output error. Check the disk and run the same command again")
    executed.clear()
    assert command("run", "--to", "ingest").exit_code == 0
    assert executed == (["ingest"] if exit_code else [])
    assert not list((tmp_path / "output" / "staging").iterdir())


@pytest.fixture
def other_device(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than the temporary one."""
    place = Path("/dev/shm")
    if not place.is_dir() or place.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system to write to")
    with tempfile.TemporaryDirectory(dir=place) as folder:
        yield Path(folder)


def test_artifacts_and_exports_may_lie_on_another_file_system(
    command: Command, other_device: Path, tmp_path: Path
) -> None:
    """Where a rename is impossible, as for a folder of the root that is mounted."""
    (tmp_path / "output").mkdir()
    (other_device / "artifacts").mkdir()
    (tmp_path / "output" / "artifacts").symlink_to(other_device / "artifacts")

    result = command("run", "--set", f"export.directory={other_device / 'export'}")

    assert result.exit_code == 0, result.output
    assert (other_device / "export" / "1" / "saved_model.pb").is_file()
    assert command("verify", "--set", f"export.directory={other_device / 'export'}").exit_code == 0
    assert not list((tmp_path / "output" / "staging").iterdir())
    assert not [path for path in other_device.rglob("*") if "partial" in path.name]


def test_a_copy_to_another_file_system_that_fails_leaves_nothing(
    other_device: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_text("text")
    real = shutil.copytree

    def copied_and_full(source: str, target: str) -> None:
        real(source, target)
        full()

    monkeypatch.setattr("shutil.copytree", copied_and_full)
    with pytest.raises(OSError, match="No space left"):
        storage.move(str(tmp_path / "source"), str(other_device / "target"))

    assert not list(other_device.iterdir())
    assert (tmp_path / "source" / "file").is_file()


# Files that vanish


def test_a_file_that_vanishes_after_it_was_listed_is_missing(
    run: Run, config: PipelineConfig, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = run().output("preprocess", "made")
    assert made is not None
    monkeypatch.setattr("dermrobust.components.integrity._intact", set())
    real = storage.list_files

    def vanishing(uri: str) -> list[str]:
        names = real(uri)
        if uri == made.uri:
            Path(uri, TEXT).unlink(missing_ok=True)
        return names

    monkeypatch.setattr("dermrobust.components.storage.list_files", vanishing)
    found = command("verify")

    assert found.exit_code == 1
    assert f"'{made.path(TEXT)}' is missing" in found.stdout


def test_raw_data_that_vanish_while_they_are_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tmp_path / "images" / "a.png"
    image.parent.mkdir()
    image.write_bytes(b"")
    real = Path.is_file

    def vanishing(path: Path) -> bool:
        found = real(path)
        if path == image:
            path.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(Path, "is_file", vanishing)

    with pytest.raises(UserError, match=r"a\.png' cannot be read: No such file"):
        files_digest([tmp_path / "images"])


# The ledger and the clock


def test_a_ledger_that_another_process_holds_is_waited_for_and_then_told(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert command("run", "--to", "ingest").exit_code == 0
    other = sqlite3.connect(tmp_path / "output" / "ledger.sqlite", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    released = threading.Timer(0.5, other.rollback)
    started = time.monotonic()
    released.start()

    waited = command("runs")

    assert waited.exit_code == 0, waited.output
    assert time.monotonic() - started >= 0.4
    released.join()
    other.execute("BEGIN EXCLUSIVE")
    monkeypatch.setattr("dermrobust.pipeline.ledger._BUSY_SECONDS", 0.1)
    refused(command("run"), "was locked by another process for 0.1 s", "run the same command again")
    other.close()
    assert command("run").exit_code == 0


class _Clock:
    """Time of day that a test sets, in place of `datetime`."""

    now_is = datetime(2026, 6, 1, tzinfo=UTC)

    @classmethod
    def now(cls, zone: Any) -> datetime:
        return cls.now_is.astimezone(zone)


@pytest.mark.parametrize("jump", [timedelta(days=-400), timedelta(days=400)], ids=["back", "forward"])
def test_a_clock_that_jumps_changes_neither_order_nor_durations(
    jump: timedelta, run: Run, config: PipelineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("ledger", "execution"):
        monkeypatch.setattr(f"dermrobust.pipeline.{module}.datetime", _Clock)
    monkeypatch.setattr(_Clock, "now_is", datetime(2026, 6, 1, tzinfo=UTC))
    first = run()

    def jumps() -> None:
        _Clock.now_is += jump

    trouble["train[one]"] = jumps
    second = run(one=" changed")
    trouble.clear()
    listening = Listening()
    third = run(one=" changed", progress=listening)

    assert [result.exit_code for result in (first, second, third)] == [0, 0, 0]
    assert executed == []
    listed = recent_runs(config, 10)
    assert [found["id"] for found in listed] == [third.run, second.run, first.run]
    assert all(0 <= node["seconds"] < 60 for found in listed for node in found["nodes"])
    found = Ledger(ledger_path(config)).latest_output(ArtifactType.MODEL.value)
    assert found is not None
    assert found[0] == third.run
    (plan,) = [line for line in listening.lines if line.startswith("run: ")]
    assert "their work took " in plan


# Signals


def test_a_run_that_is_ended_while_it_publishes_leaves_no_half_version(
    command: Command, config: PipelineConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = storage.move

    def ended(source: str, target: str) -> None:
        if "/export/" in target:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        real(source, target)

    monkeypatch.setattr("dermrobust.components.storage.move", ended)
    result = command("run")
    monkeypatch.setattr("dermrobust.components.storage.move", real)

    assert result.exit_code == 143
    assert result.stderr.splitlines()[-1].startswith("interrupted: finished work is kept")
    assert [found["status"] for found in recent_runs(config, 10)] == ["interrupted"]
    export = tmp_path / "output" / "export"
    assert list(export.iterdir()) == []
    executed.clear()
    assert command("run").exit_code == 0
    assert executed == []
    assert [path.name for path in export.iterdir()] == ["1"]
