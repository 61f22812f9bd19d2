"""The process that checks an export, and the one that started it."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from PIL import Image

from dermrobust.components.artifacts import Artifact
from dermrobust.components.export.canary import Canary

_PARENT = """
import time
from dermrobust.components.export.canary import Canary
with Canary() as canary:
    print(canary._process.pid, flush=True)
    time.sleep(600)
"""
_SECONDS = 120


def test_it_ends_when_the_process_that_started_it_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        canary = psutil.Process(int(parent.stdout.readline()))
        parent.kill()

    until = time.monotonic() + _SECONDS
    while not (over := _is_over(canary)) and time.monotonic() < until:
        time.sleep(0.1)
    assert over


@pytest.mark.slow
def test_it_answers_without_keras_as_a_server_does(
    exported: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keras").mkdir()
    (tmp_path / "keras" / "__init__.py").write_text(
        "import pathlib\npathlib.Path(__file__).with_name('imported').touch()\nraise ImportError\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    image = io.BytesIO()
    Image.new("RGB", (40, 30)).save(image, "PNG")

    with Canary() as fresh:
        answers = fresh.ask(Path(exported.path("saved_model")), [image.getvalue()], tmp_path)

    assert len(answers) == 2
    assert not (tmp_path / "keras" / "imported").exists()


def _is_over(process: psutil.Process) -> bool:
    try:
        # Whoever has inherited it may not have asked for its exit code.
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
