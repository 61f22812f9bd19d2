"""Architecture: imports go downwards only, stages meet in artifacts, and the command line answers at once."""

import ast
import subprocess
import sys
import time
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = ("dermrobust.attacks", "dermrobust.models", "dermrobust.components", "dermrobust.pipeline")
"""From the ground up: each may import those before it."""
SLOW_LIBRARIES = ("tensorflow", "keras", "apache_beam", "pydantic", "numpy", "pyarrow", "tensorflow_datasets")
HELP = "from dermrobust.pipeline.cli.main import main; main(['--help'], standalone_mode=False)"
HELP_SECONDS = 0.5
LONGEST_FUNCTION = 60
"""Lines."""


def modules(package: str) -> list[Path]:
    """The files of a package, which lies at the top level under its name without `dermrobust`."""
    return sorted(ROOT.joinpath(*package.removeprefix("dermrobust.").split(".")).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, at its top or inside functions, for types or at run time."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: fingerprints and this test follow absolute imports only"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def offences(package: str, forbidden: tuple[str, ...]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(package)
        for name in imported(path)
        if any(name == prefix or name.startswith(f"{prefix}.") for prefix in forbidden)
    ]


def component_packages() -> list[str]:
    """Packages that declare a component; the others below components/ are shared."""
    return sorted(path.parent.name for path in (ROOT / "components").glob("*/component.py"))


def shared_modules() -> list[Path]:
    components = {ROOT / "components" / name for name in component_packages()}
    return [path for path in modules("dermrobust.components") if not components & set(path.parents)]


def test_the_scan_sees_the_project() -> None:
    assert len(component_packages()) >= 6
    assert offences("dermrobust.pipeline", ("dermrobust.components",))  # upper floors do import lower ones
    assert offences("dermrobust.attacks.cleverhans", ("tensorflow",))  # inside functions, too


@pytest.mark.parametrize("floor", FLOORS)
def test_no_floor_imports_one_above_it(floor: str) -> None:
    assert offences(floor, FLOORS[FLOORS.index(floor) + 1 :]) == []


@pytest.mark.parametrize("floor", FLOORS)
def test_no_floor_imports_the_tests(floor: str) -> None:
    assert offences(floor, ("tests", "pytest", "hypothesis", "benchmarks")) == []


@pytest.mark.parametrize("floor", FLOORS[:-1])
def test_only_the_pipeline_knows_the_command_line(floor: str) -> None:
    assert offences(floor, ("click", "rich")) == []


@pytest.mark.parametrize("package", component_packages())
def test_a_component_never_imports_another(package: str) -> None:
    others = tuple(f"dermrobust.components.{other}" for other in component_packages() if other != package)

    assert offences(f"dermrobust.components.{package}", others) == []


def test_what_components_share_imports_no_component() -> None:
    names = tuple(f"dermrobust.components.{package}." for package in component_packages())

    found = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in shared_modules()
        for name in imported(path)
        if f"{name}.".startswith(names)
    ]

    assert found == []


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("dermrobust", *(part for part in parts if part not in ("__init__", "dermrobust"))))


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Neither at import time nor later, from inside a function."""
    files = {dotted(path): path for floor in (*FLOORS, "dermrobust") for path in modules(floor)}
    imports = {name: {found for found in imported(path) if found in files} for name, path in files.items()}

    TopologicalSorter(imports).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("floor", FLOORS)
def test_functions_are_short(floor: str) -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in modules(floor)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno + 1 > LONGEST_FUNCTION
    ]

    assert long == []


def python(*arguments: str) -> str:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True, text=True, timeout=120
    ).stdout


def test_help_imports_nothing_slow() -> None:
    loaded = python("-c", f"{HELP}; import sys; print(*sys.modules)").splitlines()[-1].split()

    assert "dermrobust.pipeline.cli.main" in loaded
    assert [name for name in SLOW_LIBRARIES if name in loaded] == []


def test_help_answers_at_once() -> None:
    def seconds() -> float:
        started = time.perf_counter()
        assert "Usage" in python("-c", HELP)
        return time.perf_counter() - started

    assert min(seconds() for _ in range(3)) < HELP_SECONDS
