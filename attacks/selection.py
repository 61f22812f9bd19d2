"""Selection of attacks by a config: one attack, attacks by name, or a suite."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, TypeAdapter

from dermrobust.attacks.attack import Attack
from dermrobust.attacks.plugins import Selected
from dermrobust.attacks.registry import ATTACKS, SUITES

AnyAttack = Annotated[Attack, Selected(ATTACKS, "attack")]
"""An attack as a config writes it: {"attack": "pgd", "steps": 40}, or "pgd" for its defaults."""

_reader: TypeAdapter[Attack] = TypeAdapter(AnyAttack)

_NAME = r"^[a-z][a-z0-9_]{0,63}$"
"""Names stand in file names, columns and options of the command line, so they are plain identifiers."""


def read_attack(value: Any) -> Attack:
    """Return the attack that a config's value stands for; an attack is returned unchanged.

    Raises:
        ValueError: there is no such attack, or a parameter is wrong (`pydantic.ValidationError` is a ValueError).
    """
    return _reader.validate_python(value)


def read_suite(name: str) -> dict[str, Attack]:
    """Return the attacks of a suite by the name that they have in results.

    Raises:
        ValueError: there is no such suite.
    """
    if name not in SUITES:
        raise ValueError(f"there is no suite '{name}'; there are: {', '.join(SUITES)}")
    return {label: read_attack(value) for label, value in SUITES[name].items()}


def _named_attacks(value: Any) -> Any:
    if isinstance(value, str):
        return read_suite(value)
    if isinstance(value, dict):
        for name in value:
            if not (isinstance(name, str) and re.fullmatch(_NAME, name)):
                raise ValueError(
                    f"{name!r} cannot name an attack in results; use up to 64 lower-case letters, digits and "
                    "underscores, beginning with a letter, such as 'pgd_40'"
                )
    return value


NamedAttacks = Annotated[dict[Annotated[str, Field(pattern=_NAME)], AnyAttack], BeforeValidator(_named_attacks)]
"""Attacks by the name that they have in results, or the name of a suite."""
