"""Registries of plug-ins: implementations that a config selects by name.

A registry names its members as text and imports one when it is needed. Listing a plug-in therefore imports nothing, a
plug-in may use the registry that lists it, and the fingerprint of a node covers the plug-ins that it selects only.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from dermrobust.attacks.config_paths import locate, unknown_key

UNKNOWN_KEY = "unknown_key"
"""Type of the Pydantic error for a parameter that a plug-in does not have; its message names those that it has."""

_described: ContextVar[frozenset[str]] = ContextVar("_described", default=frozenset())
"""Kinds of plug-ins whose JSON schema is being made. An ensemble of attacks holds attacks, so schemas would recurse."""


@dataclass(frozen=True)
class Registry:
    """The plug-ins of a kind by name.

    Attributes:
        kind: noun for messages, such as "attack".
        entries: "module:attribute" by name.
    """

    kind: str
    entries: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all plug-ins, in the order of the registry."""
        return tuple(self.entries)

    def check(self, name: Any) -> str:
        """Return a name if the registry has it.

        Raises:
            ValueError: there is no such plug-in; the message lists all names.
        """
        if not isinstance(name, str) or name not in self.entries:
            raise ValueError(f"there is no {self.kind} {name!r}; there are: {', '.join(self.entries)}")
        return name

    def module(self, name: str) -> str:
        """Return the name of the module that a plug-in lives in; see `check` for errors."""
        return self.entries[self.check(name)].partition(":")[0]

    def resolve(self, name: str) -> Any:
        """Import and return a plug-in; see `check` for errors."""
        module, _, attribute = self.entries[self.check(name)].partition(":")
        return getattr(importlib.import_module(module), attribute)

    def resolve_all(self) -> Iterator[Any]:
        """Import and yield every plug-in."""
        return map(self.resolve, self.entries)


@dataclass(frozen=True)
class Selected:
    """Pydantic annotation of a plug-in with its parameters: `Annotated[Attack, Selected(ATTACKS, "attack")]`.

    A config gives the name alone, or a mapping with the name under `key` and parameters beside it. Every plug-in is a
    Pydantic model with a field `key`: its name.

    Attributes:
        registry: the plug-ins that may be selected.
        key: the field that holds the name.
    """

    registry: Registry
    key: str

    def read(self, value: Any) -> Any:
        """Return the plug-in that a config's value stands for; an instance stays as it is.

        Raises:
            ValueError: there is no such plug-in, or a parameter is wrong (`pydantic.ValidationError` is a ValueError).
        """
        if isinstance(value, BaseModel):
            return value
        values = {self.key: value} if isinstance(value, str) else value
        if not isinstance(values, Mapping):
            raise ValueError(
                f"expected the name of one {self.registry.kind}, or a mapping of its name and parameters; "
                f"found {value!r}"
            )
        if self.key not in values:
            raise ValueError(
                f"the key '{self.key}' must name one {self.registry.kind}; there are: {', '.join(self.registry.names)}"
            )
        plugin: type[BaseModel] = self.registry.resolve(values[self.key])
        try:
            return plugin.model_validate(dict(values))
        except ValidationError as error:
            raise ValidationError.from_exception_data(
                plugin.__name__, [_raised_again(detail, plugin) for detail in error.errors()]
            ) from None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """See Pydantic."""
        schema = core_schema.no_info_before_validator_function(self.read, handler(source))
        # The fields of the plug-in, not those of its base class alone.
        schema["serialization"] = core_schema.simple_ser_schema("any")
        return schema

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """See Pydantic; a plug-in inside a plug-in of the same kind is described as an object."""
        names = {"type": "string", "enum": list(self.registry.names)}
        if self.registry.kind in _described.get():
            return {"anyOf": [names, {"type": "object", "properties": {self.key: names}, "required": [self.key]}]}
        token = _described.set(_described.get() | {self.registry.kind})
        try:
            members = [handler(plugin.__pydantic_core_schema__) for plugin in self.registry.resolve_all()]
        finally:
            _described.reset(token)
        return {"anyOf": [names, {"oneOf": members}]}


def _raised_again(detail: Any, plugin: type[BaseModel]) -> InitErrorDetails:
    """Return an error of a plug-in's own model to raise again.

    Whoever explains the error knows the base class only, so the location becomes a path here, and an unknown key is
    answered with the allowed ones.
    """
    (path, allowed), kind, text = locate(plugin, detail["loc"]), detail["type"], detail["msg"]
    if kind == "extra_forbidden":
        kind, text = UNKNOWN_KEY, unknown_key(str(path[-1]), allowed)
    # Pydantic formats built-in kinds anew from a context, which validators leave out; a custom error keeps its text.
    error = PydanticCustomError(kind, text.removeprefix("Value error, "))
    return InitErrorDetails(type=error, loc=path, input=detail["input"])
