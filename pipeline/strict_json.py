"""JSON as configs are written in it: no key twice, and nothing that Python's parser fails on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from dermrobust.attacks.errors import UserError


def parse_json(text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        json.JSONDecodeError: it is not JSON.
        UserError: an object has a key twice, a number has thousands of digits, or values are nested too deeply.
    """
    try:
        return json.loads(text, object_pairs_hook=_object)
    except (json.JSONDecodeError, UserError):
        raise
    except RecursionError:
        raise UserError("the values are nested too deeply") from None
    except ValueError as error:
        # Python converts at most 4,300 digits to an integer.
        raise UserError(f"a number cannot be read: {error}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"the key '{twice}' stands twice in one object; remove one of them")
    return values


def mistaken_booleans(given: Any, read: Any, path: str = "") -> Iterator[str]:
    """Yield the paths of values that are true or false where something else is meant, which Python takes for 1 and 0.

    Args:
        given: values of a config as they were written.
        read: the values that they were read as.
        path: place of both in the config.
    """
    if isinstance(given, bool):
        if isinstance(read, int | float | str) and not isinstance(read, bool):
            yield path
    elif isinstance(given, Mapping) and isinstance(read, Mapping):
        for name in given.keys() & read.keys():
            yield from mistaken_booleans(given[name], read[name], f"{path}.{name}" if path else str(name))
    elif isinstance(given, list) and isinstance(read, list) and len(given) == len(read):
        for index, (one, other) in enumerate(zip(given, read, strict=True)):
            yield from mistaken_booleans(one, other, f"{path}.{index}")
