"""JSON with other values at some places."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

_NUMBERS = st.one_of(st.integers(), st.floats(), st.sampled_from([0, 1, -1, 2**31, 2**63, 1e308, 10**40]))
_WORDS = st.one_of(st.text(max_size=8), st.sampled_from(["pgd", "fast", "auto", "../x", "/tmp/x", "linf:4/255", "\0"]))
_SCALARS = st.one_of(st.none(), st.booleans(), _NUMBERS, _WORDS)
VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_WORDS, inner, max_size=4)),
    max_leaves=8,
)


def _places(values: Any, place: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    return [place, *(found for key, value in inner for found in _places(value, (*place, key)))]


def edited(text: str | bytes, changes: list[tuple[int, Any]]) -> bytes:
    """JSON with other values at some places, which numbers choose."""
    values = json.loads(text)
    for index, value in changes:
        places = _places(values)[1:]
        *path, last = places[index % len(places)]
        inner = values
        for key in path:
            inner = inner[key]
        inner[last] = value
    return json.dumps(values).encode()
