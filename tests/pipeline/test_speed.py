"""Speed of the command line: commands that only read answer at once, since they import no slow library."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.report.evaluations import DrawnRoot

FIRST, SECOND = "20261122T100000-aaaaaa", "20261122T110000-bbbbbb"
SLOW_LIBRARIES = {
    *("tensorflow", "keras", "tensorflow_model_analysis", "tensorflow_datasets", "tfx_bsl", "cleverhans"),
    *("apache_beam", "pandas", "scipy", "sklearn", "grpc"),
}
EVEN_SLOWER_THAN_HELP = {"pydantic", "numpy", "pyarrow", "rich", "jinja2"}
LOADED = """
import sys
from dermrobust.pipeline.cli.main import main
try:
    main(sys.argv[1:], standalone_mode=False)
finally:
    print("LOADED", *sys.modules)
"""
COLLECTING = """
import atexit, gc
# The first to be registered is the last to be called.
atexit.register(lambda: print("frozen", gc.get_freeze_count() > 0))
usual = gc.get_threshold()[0]
from dermrobust.pipeline.cli.main import main
main(["zoo", "list"], standalone_mode=False)
print("rarely", gc.get_threshold()[0] > 10 * usual)
"""
MAIN = "from dermrobust.pipeline.cli.entry import main; main()"
# Imports the larger libraries that commands of READING need.
NEEDED = "import click, jinja2, numpy, PIL.Image, pyarrow.compute, pydantic.json_schema"
# Multiples of the time that NEEDED takes; `report` and `compare` have the most to do.
USUAL_LIMIT, LIMITS = 3.0, {"help": 0.5, "report": 5.0, "compare": 5.0}
READING = {
    "runs": ["runs"],
    "show": ["show", "metrics"],
    "report": ["report"],
    "compare": ["compare", FIRST, SECOND],
    "validate": ["config", "validate"],
    "schema": ["config", "schema"],
    "zoo": ["zoo", "list"],
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with two runs that evaluated three models."""
    root = tmp_path_factory.mktemp("speed") / "output"
    drawn = DrawnRoot(root)
    drawn.run(FIRST)
    drawn.run(SECOND)
    return root


def python(*arguments: str, cwd: Path) -> str:
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_a_command_collects_garbage_rarely_and_not_at_its_end(tmp_path: Path) -> None:
    """Its libraries are half a million objects, which the collector would go through again and again."""
    told = python("-c", COLLECTING, cwd=tmp_path)

    assert told.splitlines()[-2:] == ["rarely True", "frozen True"]


def arguments(command: str, root: Path) -> list[str]:
    """The arguments of `dermrobust`."""
    options = [] if command in ("schema", "zoo") else ["--set", f"root={root}"]
    return ["--help"] if command == "help" else [*READING[command], *options]


@pytest.mark.parametrize("command", ["help", *READING])
def test_it_imports_no_slow_library(command: str, root: Path, tmp_path: Path) -> None:
    printed, _, loaded = python("-c", LOADED, *arguments(command, root), cwd=tmp_path).rpartition("LOADED")

    assert printed
    assert "dermrobust.pipeline.cli.main" in loaded.split()
    assert {*loaded.split()} & SLOW_LIBRARIES == set()
    if command == "help":
        assert {*loaded.split()} & EVEN_SLOWER_THAN_HELP == set()


@pytest.mark.timing
@pytest.mark.parametrize("command", ["help", *READING])
def test_it_answers_at_once(command: str, root: Path, tmp_path: Path) -> None:
    def seconds(code: str, *argv: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        python("-c", code, *argv, cwd=tmp_path)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    # Other work on the machine delays the answer, so processor time is measured; machines differ in speed, and one
    # machine from minute to minute, so it is compared with NEEDED in turn. The first pair may compile modules.
    pairs = [(seconds(NEEDED), seconds(MAIN, *arguments(command, root))) for _ in range(3)]
    needed, taken = (min(times) for times in zip(*pairs, strict=True))

    assert taken / needed < LIMITS.get(command, USUAL_LIMIT)
