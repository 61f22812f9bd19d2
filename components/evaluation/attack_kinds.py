"""What an attack knows of the model: checks compare attacks of different kinds."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from dermrobust.attacks.attack import Attack


class Kind(enum.StrEnum):
    """How an attack finds its way."""

    SINGLE_STEP = "single_step"
    ITERATIVE = "iterative"
    BLACK_BOX = "black_box"
    TRANSFER = "transfer"
    NOISE = "noise"
    UNIVERSAL = "universal"


_BY_NAME = {
    "fgsm": Kind.SINGLE_STEP,
    "square": Kind.BLACK_BOX,
    "spsa": Kind.BLACK_BOX,
    "noise": Kind.NOISE,
    "universal": Kind.UNIVERSAL,
}
WHITE_BOX = (Kind.SINGLE_STEP, Kind.ITERATIVE)


def kind_of(attack: Attack) -> Kind:
    """Return the kind of an attack; an ensemble with a gradient attack among its members is iterative."""
    if attack.sources:
        return Kind.TRANSFER
    return _BY_NAME.get(attack.name, Kind.ITERATIVE)


def named(attacks: Mapping[str, Attack], *kinds: Kind) -> list[str]:
    """Return the names of the attacks of these kinds."""
    return [name for name, attack in attacks.items() if kind_of(attack) in kinds]
