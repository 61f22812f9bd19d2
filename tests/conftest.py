"""Distribution of the tests over processes, and fixtures that show fingerprints an edited project."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from dermrobust.components import fingerprint as fingerprints
from dermrobust.components.garbage_collection import collect_rarely
from dermrobust.models.registry import NETWORKS

if TYPE_CHECKING:
    from tests.scheduling import FilesTogether

Edit = Callable[[str, str, str], None]
Add = Callable[[str, str], None]

# A first call compiles, and other work may share the processor: time says nothing about a property.
settings.register_profile("tests", deadline=None, derandomize=True)
settings.load_profile("tests")

# As the command does.
collect_rarely()

if sys.dont_write_bytecode:
    # Otherwise each process that a test starts would compile TensorFlow's modules, which takes ten seconds.
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(Path(__file__).parents[1] / "build" / "pycache")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FilesTogether:
    """Use the project's scheduler for `--numprocesses`."""
    from tests.scheduling import FilesTogether

    return FilesTogether(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In parallel runs, move files with slow tests to the front, so that no worker ends long after the others.

    Those of Spark are the very first: they wait for their cluster most of the time.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: ("tests/spark/" not in item.nodeid, item.path not in slow))


@pytest.fixture(scope="session", autouse=True)
def tiny_in_registry() -> Iterator[None]:
    """Configs of tests may name the network 'tiny'."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(NETWORKS.entries, "tiny", "tests.small_networks:TinyNetwork")
        yield


@pytest.fixture
def fresh() -> Iterator[None]:
    """Digests of sources and versions are kept for a process; tests change what they are made from."""
    fingerprints.source_digest.cache_clear()
    fingerprints.library_versions.cache_clear()
    yield
    fingerprints.source_digest.cache_clear()
    fingerprints.library_versions.cache_clear()


@pytest.fixture
def edited(fresh: None, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Files that fingerprints read instead of those of the project, by module."""
    files: dict[str, Path] = {}
    real = fingerprints._source_path
    monkeypatch.setattr(fingerprints, "_source_path", lambda name: files.get(name) or real(name))
    return files


@pytest.fixture
def add(edited: dict[str, Path], tmp_path: Path) -> Add:
    """A function that adds a module, or replaces the source of one."""

    def add(module: str, source: str) -> None:
        # A new name for every version, since a file is read once.
        edited[module] = tmp_path / f"{module}-{len(list(tmp_path.iterdir()))}.py"
        edited[module].write_text(source, encoding="utf-8")
        fingerprints.source_digest.cache_clear()

    return add


@pytest.fixture
def edit(add: Add) -> Edit:
    """A function that replaces the first match of a pattern in the source of a module."""

    def edit(module: str, pattern: str, replacement: str) -> None:
        path = fingerprints._source_path(module)
        assert path is not None, f"there is no module {module}"
        source, count = re.subn(pattern, replacement, path.read_text(encoding="utf-8"), count=1)
        assert count == 1, f"{module} has no match of {pattern!r}"
        add(module, source)

    return edit
