"""Paths in a config of what Pydantic locates, and messages for unknown keys."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

Location = tuple[str | int, ...]


def locate(model: type[BaseModel], location: Location) -> tuple[Location, list[str]]:
    """Return the path in a config of a Pydantic error, and the keys that are allowed beside the path's last one.

    Pydantic's location also names the chosen member of a union, which stands nowhere in the config.
    """
    path: list[str | int] = []
    allowed: list[str] = []
    current: Any = model
    for part in location:
        members = _members(current)
        if len(members) > 1:
            current = next((member for member in members if _is_tagged(member, part)), Any)
            continue
        current = members[0]
        path.append(part)
        if _is_model(current):
            fields = {info.validation_alias or name: info for name, info in current.model_fields.items()}
            allowed = sorted(map(str, fields))
            current = fields[part].annotation if part in fields else Any
        else:
            # An index of a sequence or a key of a mapping: what follows is of the type of its values.
            allowed = []
            values = [argument for argument in typing.get_args(current) if argument is not ...]
            current = values[-1] if values else Any
    return tuple(path), allowed


def unknown_key(name: str, allowed: Sequence[str]) -> str:
    """Return the message for a key that does not exist, with the nearest one and all that are allowed."""
    near = difflib.get_close_matches(name, allowed, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    known = f" Allowed: {', '.join(allowed)}." if allowed else ""
    return f"there is no such key.{hint}{known}"


def _members(annotation: Any) -> list[Any]:
    """Return the types that a value may have, None left out."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _members(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [member for member in typing.get_args(annotation) if member is not type(None)]
    return [annotation]


def _is_tagged(member: Any, tag: str | int) -> bool:
    """Tell whether a member of a discriminated union has a tag."""
    return _is_model(member) and any(tag in typing.get_args(info.annotation) for info in member.model_fields.values())


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
