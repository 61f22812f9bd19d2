"""A run that is asked to end by a signal: one line, the ledger knows, and the same command goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import dermrobust
from dermrobust.pipeline import runner
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.history import recent_runs
from tests.pipeline import small_stages

PROGRAM = """
import os, signal, sys, time
from dermrobust.pipeline import runner
from dermrobust.pipeline.cli.main import main
from tests.pipeline import small_stages

def interrupted():
    try:
        os.kill(os.getpid(), signal.{name})
        time.sleep(60)
    except KeyboardInterrupt as error:
        if sys.argv[2] == "beam":
            raise RuntimeError("KeyboardInterrupt [while running 'Compute']") from error
        raise

if "{name}" != "NONE":
    small_stages.trouble["train[one]"] = interrupted
runner.build_graph = lambda config: small_stages.graph()
main(["run", "--to", "train", "--set", f"root={{sys.argv[1]}}"])
"""


def run(name: str, root: Path, *, ignored: bool = False, raised_by: str = "node") -> subprocess.CompletedProcess[str]:
    """Run the small pipeline, which sends itself a signal in its third stage, in a worker of Beam if it says so."""
    program = PROGRAM.format(name=name).replace("time.sleep(60)", "pass" if ignored else "time.sleep(60)")
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.default_int_handler)
    try:
        return subprocess.run(
            [sys.executable, "-c", program, str(root), raised_by],
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("raised_by", ["node", "beam"])
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_an_interrupted_run_says_how_to_go_on(name: str, code: int, raised_by: str, tmp_path: Path) -> None:
    done = run(name, tmp_path, raised_by=raised_by)

    assert done.returncode == code
    assert done.stderr.splitlines()[-1] == "interrupted: finished work is kept, and the same command goes on from there"
    assert "Traceback" not in done.stderr
    # No other node begins, whether it needs the interrupted one or not.
    assert "train[two]: " not in done.stderr
    assert done.stdout == ""
    config = PipelineConfig(root=str(tmp_path))
    (recorded,) = recent_runs(config, 10)
    assert recorded["status"] == "interrupted"
    assert recorded["finished"] is not None
    assert not list((tmp_path / "staging").iterdir())

    again = run("NONE", tmp_path)

    assert again.returncode == 0, again.stderr
    assert "ingest: unchanged" in again.stderr
    assert "train[one]: done" in again.stderr


def test_a_run_that_ignores_a_signal_goes_on_ignoring_it(tmp_path: Path) -> None:
    done = run("SIGINT", tmp_path, ignored=True)

    assert done.returncode == 0, done.stderr
    assert "train[two]: done" in done.stderr


@pytest.fixture
def interrupted_in_training(python_handles_ctrl_c: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are those of the small pipeline, whose third stage is interrupted."""
    monkeypatch.setattr(runner, "build_graph", lambda config: small_stages.graph())
    monkeypatch.setitem(small_stages.trouble, "train[one]", small_stages.interrupted_as_by_beam)
    monkeypatch.setattr(small_stages, "executed", [])


@pytest.mark.usefixtures("interrupted_in_training")
def test_ctrl_c_ends_a_run_of_the_api_though_beam_makes_another_error_of_it(config: PipelineConfig) -> None:
    with pytest.raises(KeyboardInterrupt):
        dermrobust.run(config, last="train")

    assert small_stages.executed[-1] == "train[one]"
    (recorded,) = recent_runs(config, 10)
    assert recorded["status"] == "interrupted"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("interrupted_in_training")
def test_a_handler_of_the_caller_stays_during_a_run_of_the_api(config: PipelineConfig) -> None:
    received: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: received.append(number))

    result = dermrobust.run(config, last="train")

    assert received == [signal.SIGINT]
    assert result.exit_code == 0
