"""What is wrong in a config, in words: the path in the file, what was found, what is allowed."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError


def explain(error: ValidationError, model: type[BaseModel], prefix: tuple[str, ...] = ()) -> str:
    """Return a line for each mistake of a config."""
    return "\n".join(_line(problem, model, prefix) for problem in error.errors(include_url=False))


def _line(problem: Any, model: type[BaseModel], prefix: tuple[str, ...]) -> str:
    place = tuple(str(part) for part in problem["loc"])
    path = ".".join((*prefix, *place))
    if problem["type"] == "extra_forbidden":
        allowed = _allowed(model, place[:-1])
        near = difflib.get_close_matches(place[-1], allowed, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        known = f" Allowed: {', '.join(allowed)}." if allowed else ""
        return f"  {path}: there is no such key.{hint}{known}"
    message = problem["msg"].removeprefix("Value error, ")
    if not place and problem["type"] == "value_error":
        return "\n".join(f"  {line.strip()}" for line in message.splitlines())
    found = "" if problem["type"] in ("missing", "value_error") else f" (found: {problem['input']!r})"
    return f"  {path}: {message}{found}"


def _allowed(model: type[BaseModel], place: tuple[str, ...]) -> list[str]:
    """Return the keys that are allowed at a place, or none where that cannot be told."""
    current: set[type[BaseModel]] = {model}
    for part in place:
        following: set[type[BaseModel]] = set()
        for candidate in current:
            if part in candidate.model_fields:
                following |= set(_models(candidate.model_fields[part].annotation))
            else:
                # An index, a key of a mapping, or the tag of a union: the models stay.
                following.add(candidate)
        current = following
    return sorted({name for candidate in current for name in candidate.model_fields})


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models(argument)
