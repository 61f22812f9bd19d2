"""Architecture: imports go downwards only, components meet in artifacts, and functions are short."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("dermrobust.attacks", "dermrobust.models", "dermrobust.components", "dermrobust.pipeline")
"""From the lowest up: each may import those before it."""
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
    assert offences("dermrobust.pipeline", ("dermrobust.components",))  # upper layers do import lower ones
    assert offences("dermrobust.attacks.cleverhans", ("tensorflow",))  # inside functions, too


@pytest.mark.parametrize("layer", LAYERS)
def test_no_layer_imports_one_above_it(layer: str) -> None:
    assert offences(layer, LAYERS[LAYERS.index(layer) + 1 :]) == []


@pytest.mark.parametrize("layer", LAYERS)
def test_no_layer_imports_the_tests(layer: str) -> None:
    assert offences(layer, ("tests", "pytest", "hypothesis", "benchmarks")) == []


@pytest.mark.parametrize("layer", LAYERS[:-1])
def test_only_the_pipeline_knows_the_command_line(layer: str) -> None:
    assert offences(layer, ("click", "rich")) == []


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
    files = {dotted(path): path for layer in (*LAYERS, "dermrobust") for path in modules(layer)}
    imports = {name: {found for found in imported(path) if found in files} for name, path in files.items()}

    TopologicalSorter(imports).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("layer", LAYERS)
def test_functions_are_short(layer: str) -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in modules(layer)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno + 1 > LONGEST_FUNCTION
    ]

    assert long == []
