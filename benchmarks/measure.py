"""Whole commands, timed from outside."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Measured:
    """What a command took.

    Attributes:
        seconds: wall-clock time.
        peak_mib: the largest resident memory that its process had.
        output: what it printed to stdout.
    """

    seconds: float
    peak_mib: float
    output: str


def dermrobust(*arguments: str) -> list[str]:
    """Return the command line for a command of this installation."""
    return [sys.executable, "-c", "from dermrobust.pipeline.cli.entry import main; main()", *arguments]


def measure(command: Sequence[str], environment: dict[str, str] | None = None) -> Measured:
    """Run a command to its end; progress goes to this process's stderr.

    Raises:
        RuntimeError: it failed.
    """
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, env={**os.environ, **(environment or {})})
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        output.seek(0)
        text = output.read().decode()
    if os.waitstatus_to_exitcode(status) != 0:
        raise RuntimeError(f"{' '.join(command[3:])} ended with {os.waitstatus_to_exitcode(status)}:\n{text}")
    return Measured(seconds, usage.ru_maxrss / 1024, text)


def machine() -> str:
    """Return what a figure was measured on, and at which commit."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent, check=False
    ).stdout.strip()
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, commit {commit or '?'}"
