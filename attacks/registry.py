"""The attacks that a config can name; adding one is its file and its line here."""

from __future__ import annotations

from typing import Annotated, Any, get_args

from pydantic import BeforeValidator, Field, TypeAdapter

from dermrobust.attacks.apgd import APGDCE, APGDDLR, APGDTargeted
from dermrobust.attacks.attack import Attack
from dermrobust.attacks.auto import Auto
from dermrobust.attacks.cleverhans.bim import BIM
from dermrobust.attacks.cleverhans.carlini_wagner import CarliniWagnerL2
from dermrobust.attacks.cleverhans.fgsm import FGSM
from dermrobust.attacks.cleverhans.mim import MIM
from dermrobust.attacks.cleverhans.pgd import PGD
from dermrobust.attacks.cleverhans.spsa import SPSA
from dermrobust.attacks.ensemble import Ensemble
from dermrobust.attacks.noise import Noise
from dermrobust.attacks.square import Square
from dermrobust.attacks.suites import SUITES
from dermrobust.attacks.transfer import Transfer
from dermrobust.attacks.universal import Universal

AttackUnion = (
    FGSM
    | BIM
    | PGD
    | MIM
    | CarliniWagnerL2
    | SPSA
    | APGDCE
    | APGDDLR
    | APGDTargeted
    | Square
    | Auto
    | Ensemble
    | Universal
    | Noise
    | Transfer
)

ATTACKS: dict[str, type[Attack]] = {member.model_fields["attack"].default: member for member in get_args(AttackUnion)}
"""Every attack by the name that a config gives."""


def _spelled_out(value: Any) -> Any:
    """Return a config's attack with its parameters: a name alone stands for the attack with its defaults."""
    values = {"attack": value} if isinstance(value, str) else value
    if isinstance(values, dict):
        name = values.get("attack")
        if name not in ATTACKS:
            raise ValueError(f"there is no attack {name!r}; there are: {', '.join(ATTACKS)}")
    return values


AnyAttack = Annotated[Annotated[AttackUnion, Field(discriminator="attack")], BeforeValidator(_spelled_out)]
"""An attack as a config writes it: {"attack": "pgd", "steps": 40}, or "pgd" for its defaults."""

_reader: TypeAdapter[Attack] = TypeAdapter(AnyAttack)


def read_attack(value: Any) -> Attack:
    """Return the attack that a config's value stands for.

    Raises:
        ValueError: there is no such attack, or a parameter is wrong (pydantic's ValidationError is one).
    """
    return value if isinstance(value, Attack) else _reader.validate_python(value)


def read_suite(name: str) -> dict[str, Attack]:
    """Return the attacks of a suite by the name that they have in results.

    Raises:
        ValueError: there is no such suite.
    """
    if name not in SUITES:
        raise ValueError(f"there is no suite '{name}'; there are: {', '.join(SUITES)}")
    return dict(SUITES[name])


def _suite_or_attacks(value: Any) -> Any:
    return read_suite(value) if isinstance(value, str) else value


NamedAttacks = Annotated[dict[str, AnyAttack], BeforeValidator(_suite_or_attacks)]
"""Attacks by the name that they have in results, or the name of a suite."""
