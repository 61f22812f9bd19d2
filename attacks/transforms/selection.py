"""Selection of searches by a config: one search, or searches by name."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from dermrobust.attacks.plugins import Selected
from dermrobust.attacks.transforms.registry import SEARCHES
from dermrobust.attacks.transforms.search import Search

AnySearch = Annotated[Search, Selected(SEARCHES, "search")]
"""A search as a config writes it: {"search": "adaptive", "steps": 40}, or "adaptive" for its defaults."""

NamedSearches = Annotated[
    dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")], AnySearch], Field(min_length=1)
]
"""Searches by the name that they have in results."""

_reader: TypeAdapter[Search] = TypeAdapter(AnySearch)


def read_search(value: Any) -> Search:
    """Return the search that a config's value stands for; a search is returned unchanged.

    Raises:
        ValueError: there is no such search, or a parameter is wrong (`pydantic.ValidationError` is a ValueError).
    """
    return _reader.validate_python(value)


def default_searches() -> dict[str, Search]:
    """Return the adaptive search and its controls, with their defaults, by name."""
    return {name: read_search(name) for name in SEARCHES.names}
