"""Fixtures that show fingerprints an edited project, without touching its files."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dermrobust.components import fingerprint as fingerprints

Edit = Callable[[str, str, str], None]
Add = Callable[[str, str], None]


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
