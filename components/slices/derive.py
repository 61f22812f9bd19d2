"""Computation of slice features from pixels."""

from __future__ import annotations

from collections.abc import Sequence

from dermrobust.attacks.threat import Pixels
from dermrobust.components.slices.registry import SLICES


def derived_features(names: Sequence[str], pixels: Pixels) -> dict[str, Sequence[str]]:
    """Return the group of each image by the name of the feature.

    Args:
        names: entries of the registry of slice features.
        pixels: uint8 [count, height, width, 3].
    """
    return {name: SLICES.resolve(name)(pixels) for name in names}
