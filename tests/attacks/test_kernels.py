"""Choice of TensorFlow's kernels, which takes effect only before TensorFlow is imported."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

VARIABLE = "TF_ENABLE_ONEDNN_OPTS"
PROGRAM = """
import os, platform, sys
platform.machine = lambda: {machine!r}
if {before}:
    sys.modules["tensorflow"] = sys
import dermrobust
from dermrobust.attacks.kernels import onednn
print(os.environ.get("TF_ENABLE_ONEDNN_OPTS"), onednn(), "tensorflow.python" in sys.modules)
"""


def outcome(machine: str, value: str | None, *, before: bool = False) -> list[str]:
    """Return the variable, the reported kernels, and whether TensorFlow was imported, after `import dermrobust`."""
    environment = {name: text for name, text in os.environ.items() if name != VARIABLE}
    if value is not None:
        environment[VARIABLE] = value
    program = PROGRAM.format(machine=machine, before=before)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    return done.stdout.split()


@pytest.mark.parametrize(
    ("machine", "value", "expected"),
    [
        ("x86_64", None, ["1", "on"]),
        ("AMD64", None, ["1", "on"]),
        ("aarch64", None, ["None", "unset"]),
        ("x86_64", "0", ["0", "off"]),
        ("x86_64", "False", ["False", "off"]),
        ("aarch64", "1", ["1", "on"]),
    ],
)
def test_onednn_is_on_for_x86_unless_the_user_decides(machine: str, value: str | None, expected: list[str]) -> None:
    assert outcome(machine, value) == [*expected, "False"]


def test_nothing_is_set_once_tensorflow_is_imported() -> None:
    assert outcome("x86_64", None, before=True)[0] == "None"
