"""Messages for mistakes in a config: the path in the file, the value found, and what is allowed."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError

from dermrobust.attacks.config_paths import locate, unknown_key
from dermrobust.attacks.plugins import UNKNOWN_KEY

_LISTED = 50
"""Mistakes that a message gives at most."""


def explain(error: ValidationError, model: type[BaseModel], prefix: tuple[str, ...] = ()) -> str:
    """Return one line for each mistake in a config, for the first ones at least."""
    problems = error.errors(include_url=False)
    lines = [_line(problem, model, prefix) for problem in problems[:_LISTED]]
    more = [f"  and {len(problems) - _LISTED} more mistakes"] if len(problems) > _LISTED else []
    return "\n".join([*lines, *more])


def _line(problem: Any, model: type[BaseModel], prefix: tuple[str, ...]) -> str:
    place, allowed = locate(model, problem["loc"])
    path = ".".join((*prefix, *map(str, place)))
    if problem["type"] == "extra_forbidden":
        return f"  {path}: {unknown_key(str(place[-1]), allowed)}"
    message = problem["msg"].removeprefix("Value error, ")
    if not place and problem["type"] == "value_error":
        # A check of the whole config gives one line for each mistake, with its own path.
        return "\n".join(f"  {line.strip()}" for line in message.splitlines())
    # These messages already say what was found.
    found = "" if problem["type"] in ("missing", "value_error", UNKNOWN_KEY) else f" (found: {problem['input']!r})"
    return f"  {path}: {message}{found}"
