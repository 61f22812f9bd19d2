"""What is wrong in a config, in words: the path in the file, what was found, what is allowed."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError


def explain(error: ValidationError, model: type[BaseModel], prefix: tuple[str, ...] = ()) -> str:
    """Return a line for each mistake of a config."""
    return "\n".join(_line(problem, model, prefix) for problem in error.errors(include_url=False))


def _line(problem: Any, model: type[BaseModel], prefix: tuple[str, ...]) -> str:
    place, allowed = _locate(model, problem["loc"])
    path = ".".join((*prefix, *place))
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(place[-1], allowed, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        known = f" Allowed: {', '.join(allowed)}." if allowed else ""
        return f"  {path}: there is no such key.{hint}{known}"
    message = problem["msg"].removeprefix("Value error, ")
    if not place and problem["type"] == "value_error":
        return "\n".join(f"  {line.strip()}" for line in message.splitlines())
    found = "" if problem["type"] in ("missing", "value_error") else f" (found: {problem['input']!r})"
    return f"  {path}: {message}{found}"


def _locate(model: type[BaseModel], location: Sequence[str | int]) -> tuple[list[str], list[str]]:
    """Return the path in the file of what Pydantic locates, and the keys that are allowed beside its last part.

    Pydantic names the chosen member of a union in between, which stands nowhere in the file.
    """
    path: list[str] = []
    allowed: list[str] = []
    current: Any = model
    for part in location:
        members = _members(current)
        if len(members) > 1:
            current = next((member for member in members if _is_tagged(member, part)), Any)
            continue
        current = members[0]
        path.append(str(part))
        if _is_model(current):
            allowed = sorted(current.model_fields)
            current = current.model_fields[part].annotation if part in current.model_fields else Any
        else:
            # An index of a sequence or a key of a mapping: what follows is of the type of its values.
            allowed = []
            values = [argument for argument in typing.get_args(current) if argument is not ...]
            current = values[-1] if values else Any
    return path, allowed


def _members(annotation: Any) -> list[Any]:
    """Return the types that a value may have, None left out."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _members(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [member for member in typing.get_args(annotation) if member is not type(None)]
    return [annotation]


def _is_tagged(member: Any, tag: str | int) -> bool:
    """Tell whether a member of a discriminated union goes by a tag."""
    return _is_model(member) and any(tag in typing.get_args(info.annotation) for info in member.model_fields.values())


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
