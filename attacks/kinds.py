"""Kinds of attacks, by what an attack uses of the model."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import Protocol


class Kind(enum.StrEnum):
    """Kind of an attack: the parts of the model that it uses; the most capable kind first.

    Self-checks compare attacks of different kinds: a black-box attack that breaks more images than an iterative one
    shows that gradients are masked (Athalye et al. 2018, arXiv 1802.00420).
    """

    ITERATIVE = "iterative"
    """Many gradients of each image."""
    SINGLE_STEP = "single_step"
    """One gradient of each image."""
    UNIVERSAL = "universal"
    """Gradients of other images: one perturbation for all."""
    BLACK_BOX = "black_box"
    """Outputs only."""
    TRANSFER = "transfer"
    """Nothing: examples are crafted on another model."""
    NOISE = "noise"
    """Nothing: random perturbations."""


WHITE_BOX = (Kind.SINGLE_STEP, Kind.ITERATIVE)
"""Kinds that follow gradients of the image under attack."""


class HasKind(Protocol):
    """An attack, as far as this module knows it."""

    @property
    def kind(self) -> Kind:
        """See `dermrobust.attacks.attack.Attack`."""


def most_capable(kinds: Iterable[Kind]) -> Kind:
    """Return the kind of an ensemble whose members are of these kinds."""
    return min(kinds, key=list(Kind).index)


def named(attacks: Mapping[str, HasKind], *kinds: Kind) -> list[str]:
    """Return the names of the attacks of these kinds."""
    return [name for name, attack in attacks.items() if attack.kind in kinds]
