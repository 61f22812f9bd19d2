"""Faults of disks and files end in a clear state with one message."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dermrobust.components.progress import Silent
from dermrobust.pipeline.cli.main import main
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.outcomes import RunResult
from dermrobust.pipeline.runner import run_pipeline
from tests.pipeline.small_stages import graph, trouble

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
