"""Fingerprints: digests of everything that determines the result of a component."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dermrobust.attacks.kernels import onednn
from dermrobust.components.artifacts import Artifact
from dermrobust.components.component import Component, Params

_PROJECT = "dermrobust"
_REGISTRY = "registry"
_TENSORFLOW = "tensorflow"
_LAYERS = frozenset({"attacks", "models", "components"})
"""Layers whose code determines results; the pipeline layer only wires components."""


def fingerprint(component: Component, params: Params, inputs: Mapping[str, tuple[Artifact, ...]]) -> str:
    """Return the fingerprint of a component's outputs, 32 hexadecimal digits.

    It covers the parameters, the content of the inputs, data read from elsewhere, the source code of the executor and
    of the selected plug-ins, and the versions of libraries.
    """
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
    """Return the versions of distributions and of Python, and which kernels TensorFlow computes with."""
    versions = {name: importlib.metadata.version(name) for name in libraries}
    if _TENSORFLOW in versions:
        versions["onednn"] = onednn()
    return {"python": f"{sys.version_info.major}.{sys.version_info.minor}", **versions}


@functools.cache
def source_digest(module: str) -> str:
    """Return the digest of a module and of all modules of this project that it imports, directly or not.

    Code is compared as syntax: comments, layout and docstrings do not count. A module named `registry` is skipped with
    everything that it lists, because it lists all plug-ins; `Params.plugins` names those that a node selects.
    """
    sources: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in sources or name.rpartition(".")[2] == _REGISTRY:
            continue
        path = _source_path(name)
        if path is not None:
            source = _read(path)
            sources[name] = source.digest
            waiting.extend(source.imports)
    return hashlib.sha256(json.dumps(sources, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class _Source:
    """Digest of one module's code, and the modules of the project that it refers to."""

    digest: str
    imports: tuple[str, ...]


# Most modules are used by several components, and parsing takes most of the time, so each is parsed once.
@functools.cache
def _read(path: Path) -> _Source:
    tree = _without_docstrings(ast.parse(path.read_bytes()))
    return _Source(hashlib.sha256(ast.dump(tree).encode()).hexdigest(), tuple(_project_imports(tree)))


def _source_path(module: str) -> Path | None:
    """Return the file of a module, or None if there is no such module."""
    # `find_spec` of a module imports its parents, which is slow, so it is asked for packages only. The first two parts
    # are one such package: in an editable install `package_dir` maps "dermrobust.attacks" to another folder.
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
    """Return whether a statement is a bare string, which documents a module, class, function or constant."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _project_imports(tree: ast.Module) -> Iterator[str]:
    """Yield the modules of this project that imports or `module:function` texts refer to."""
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
            # `from package.module import function` gives "package.module.function", which is no module.
            if project == _PROJECT and layer in _LAYERS and _source_path(name) is not None:
                yield name
