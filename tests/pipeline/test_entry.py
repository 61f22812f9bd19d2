"""The process of a command: it ends as the command did, whatever libraries do at their end."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from dermrobust.version import __version__

PROGRAM = """
import atexit, ctypes, importlib, sys
import click

# Called when the process ends, as the destructors of C++ libraries are.
libc = ctypes.CDLL(None)
libc.__cxa_atexit(libc.abort, None, None)

def registering(*arguments, main=click.Group.main, **options):
    atexit.register(print, "registered later")
    return main(*arguments, **options)

click.Group.main = registering
importlib.import_module(sys.argv.pop(1)).main()
"""


def ended(*arguments: str, module: str = "dermrobust.pipeline.cli.entry") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, module, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize(("arguments", "code"), [(("--version",), 0), (("zoo", "show", "nothing"), 2)])
def test_a_library_that_aborts_at_its_end_does_not_change_how_a_command_ends(
    arguments: tuple[str, ...], code: int
) -> None:
    done = ended(*arguments)

    assert done.returncode == code
    assert (__version__ in done.stdout) == (code == 0)
    assert ("nothing" in done.stderr) == (code == 2)
    assert "registered later" in done.stdout


def test_such_a_library_ends_a_process_that_the_interpreter_ends() -> None:
    assert ended("--version", module="dermrobust.pipeline.cli.main").returncode == -signal.SIGABRT
