"""Fingerprints: a digest of all that shapes a component's result."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from dermrobust.components.artifacts import Artifact
from dermrobust.components.component import Component, Params

_PROJECT = "dermrobust"
_REGISTRY = "registry"
_LAYERS = frozenset({"attacks", "models", "components"})


def fingerprint(component: Component, params: Params, inputs: Mapping[str, tuple[Artifact, ...]]) -> str:
    """Return the digest over parameters, input contents, source code and library versions, in 32 hex digits."""
    parts = {
        "component": component.name,
        "params": params.for_fingerprint(),
        "inputs": {name: [artifact.digest for artifact in artifacts] for name, artifacts in sorted(inputs.items())},
        "external": component.external_digest(params),
        "source": source_digest(component.executor.split(":")[0]),
        "plugins": {module: source_digest(module) for module in sorted(params.plugins())},
        "versions": library_versions(component.libraries),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


@functools.cache
def library_versions(libraries: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of distributions, and Python's."""
    versions = {name: importlib.metadata.version(name) for name in libraries}
    return {"python": f"{sys.version_info.major}.{sys.version_info.minor}", **versions}


@functools.cache
def source_digest(module: str) -> str:
    """Return a digest of a module and of all modules of this project that it imports, directly or not.

    Code is compared as syntax: comments, layout and docstrings do not count. Registries, the modules called
    `registry`, are left out with all that they list: of the plug-ins only those count that a node selects.
    """
    seen: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen or name.rpartition(".")[2] == _REGISTRY:
            continue
        path = _source_path(name)
        if path is None:
            continue
        tree = ast.parse(path.read_bytes())
        seen[name] = hashlib.sha256(ast.dump(_without_docstrings(tree)).encode()).hexdigest()
        waiting.extend(_project_imports(tree))
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()


def _source_path(module: str) -> Path | None:
    """Return a module's file without importing anything: to look a module up by Python's means imports its parents."""
    # A layer's folder is where `package_dir` says, not below that of the project.
    parts = module.split(".")
    depth = 2 if parts[0] == _PROJECT else 1
    rest = parts[depth:]
    spec = importlib.util.find_spec(".".join(parts[:depth]))
    if spec is None or not spec.submodule_search_locations:
        return Path(spec.origin) if spec is not None and spec.origin and not rest else None
    base = Path(spec.submodule_search_locations[0], *rest)
    candidates = (base / "__init__.py", base.with_suffix(".py")) if rest else (base / "__init__.py",)
    return next((path for path in candidates if path.is_file()), None)


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [statement for statement in node.body if not _is_docstring(statement)]
    return tree


def _is_docstring(statement: ast.stmt) -> bool:
    """Tell whether a statement is text alone: below a constant that documents it, too."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _project_imports(tree: ast.Module) -> Iterator[str]:
    """Yield the project's modules named by imports and by `module:function` references."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            candidates = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            candidates = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and ":" in node.value:
            candidates = [node.value.split(":")[0]]
        else:
            continue
        for name in candidates:
            project, layer, *_ = *name.split("."), "", ""
            if project == _PROJECT and layer in _LAYERS and _is_module(name):
                yield name


def _is_module(name: str) -> bool:
    return _source_path(name) is not None
