"""Configs."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from benchmarks.fuzz_targets.changes import changed
from benchmarks.fuzz_targets.json_edits import VALUES, edited


@functools.cache
def _config() -> dict[str, Any]:
    from dermrobust.pipeline.config_files import load_config

    config: dict[str, Any] = load_config(None).model_dump(mode="json")
    return config


def _with_values(changes: list[tuple[int, Any]]) -> bytes:
    """The default config with other values at some places."""
    return edited(json.dumps(_config()), changes)


def configs() -> SearchStrategy[bytes]:
    """Return configs with other values, and other texts."""
    values = st.builds(_with_values, st.lists(st.tuples(st.integers(0, 2000), VALUES), max_size=3))
    return st.one_of(values, changed(values), st.binary(max_size=60))


def read_config(content: bytes, folder: Path) -> None:
    """Read a config."""
    from dermrobust.pipeline.config_files import load_config

    path = folder / "config.json"
    path.write_bytes(content)
    load_config(path)
