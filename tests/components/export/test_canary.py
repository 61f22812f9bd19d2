"""The process that checks an export, and the one that started it."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil

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


def _is_over(process: psutil.Process) -> bool:
    try:
        # Whoever has inherited it may not have asked for its exit code.
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
