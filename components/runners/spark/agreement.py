"""Comparison of the driver with the processes of the workers: what must agree for equal results."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dermrobust.attacks.errors import UserError
from dermrobust.attacks.kernels import onednn
from dermrobust.components import storage

_LIBRARIES = (
    "apache-beam",
    "cleverhans",
    "keras",
    "numpy",
    "pillow",
    "pyarrow",
    "pyspark",
    "scipy",
    "tensorflow",
    "tensorflow-datasets",
    "tensorflow-model-analysis",
    "tfx-bsl",
)
_LAYERS = ("attacks", "models", "components")
"""Packages of this project whose code runs on workers."""

_checked: set[Agreement] = set()
"""What this process has been found to agree with."""


@dataclass(frozen=True)
class Agreement:
    """What the driver has installed, and how it is seen that a worker reaches the same files.

    Attributes:
        installed: (name, version) of Python, the libraries and this project.
        file: URI of a file below the root; None: the pipeline has no root.
        content: content of that file.
    """

    installed: tuple[tuple[str, str], ...]
    file: str | None = None
    content: str = ""

    def check(self) -> None:
        """Compare with this process, once.

        Raises:
            UserError: versions differ, or the file cannot be read here.
        """
        if self in _checked:
            return
        here = platform.node()
        if differences := _differences(dict(self.installed), dict(installed())):
            raise UserError(
                f"beam.runner: the Spark worker on {here} has other versions than this process: {differences}. "
                "Install the same ones on all machines; PYSPARK_PYTHON names the Python that workers start"
            )
        if self.file is not None and not _holds(self.file, self.content):
            raise UserError(
                f"beam.runner: the Spark worker on {here} cannot read '{self.file}', which lies below `root`. "
                "Set `root` to a folder that all machines share, or to an object store"
            )
        _checked.add(self)


def installed() -> tuple[tuple[str, str], ...]:
    """Return the versions of Python and of the libraries, and a digest of this project's code."""
    versions = {"python": platform.python_version(), "onednn": onednn(), "dermrobust": _source_digest()}
    for name in _LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "none"
    return tuple(sorted(versions.items()))


def _source_digest() -> str:
    digest = hashlib.sha256()
    for layer in _LAYERS:
        spec = importlib.util.find_spec(f"dermrobust.{layer}")
        assert spec is not None
        assert spec.submodule_search_locations
        folder = Path(spec.submodule_search_locations[0])
        for path in sorted(folder.rglob("*.py")):
            digest.update(f"{layer}/{path.relative_to(folder).as_posix()}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def _differences(driver: Mapping[str, str], worker: Mapping[str, str]) -> str:
    return ", ".join(
        f"{name} {worker.get(name, 'none')} (here {version})"
        for name, version in driver.items()
        if worker.get(name) != version
    )


def _holds(uri: str, content: str) -> bool:
    try:
        return storage.read_bytes(uri) == content.encode()
    except OSError:
        return False
