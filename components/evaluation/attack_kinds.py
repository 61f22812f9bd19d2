"""Kinds of attacks; see `dermrobust.attacks.kinds`."""

from __future__ import annotations

from dermrobust.attacks.attack import Attack
from dermrobust.attacks.kinds import WHITE_BOX, Kind, named

__all__ = ["WHITE_BOX", "Kind", "kind_of", "named"]


def kind_of(attack: Attack) -> Kind:
    """Return the kind of an attack."""
    return attack.kind
