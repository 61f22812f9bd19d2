"""Patch: a square sticker whose place and content the attacker chooses."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from dermrobust.attacks.transforms.parameter import Parameter
from dermrobust.attacks.transforms.transform import LEAST_STRENGTH, Transform, Values

_ROUNDING = 1e-6
"""Keeps a share that stands for a whole number of pixels from losing one: 0.0625 of 64 x 64 pixels is 16 x 16."""

_COLOURS = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.14, 0.27, 0.59))
"""Of plain stickers: black, white, and the blue of a marker."""


class Patch(Transform):
    """A square sticker that covers a share of the image (Brown et al. 2017, arXiv 1712.09665).

    The strength is this share; the side is rounded down to whole pixels. Parameters give the place of the sticker from
    one edge (-1) to the other (1). Unlike the published patch, which is one for all images, each image gets its own.
    """

    name: ClassVar[str] = "patch"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """See `Transform.parameters`."""
        source = "anywhere inside of the image"
        return (
            Parameter("vertical", 1.0, "place of the sticker from the upper (-1) to the lower edge (1)", source, False),
            Parameter(
                "horizontal", 1.0, "place of the sticker from the left (-1) to the right edge (1)", source, False
            ),
        )

    @property
    def has_content(self) -> bool:
        """See `Transform.has_content`."""
        return True

    def check_strength(self, strength: float) -> None:
        """See `Transform.check_strength`."""
        if not LEAST_STRENGTH <= strength < 1:
            raise ValueError(
                f"patch:{strength:g}: the share of the image must be {LEAST_STRENGTH:g} or more and below 1"
            )

    def check_size(self, height: int, width: int, strength: float) -> None:
        """See `Transform.check_size`."""
        if side_of(height, width, strength) < 1:
            raise ValueError(f"patch:{strength:g} is less than one pixel of an image of {height} x {width}")

    def apply(self, images: Any, values: Any, content: Any, strength: Any) -> Any:
        """See `Transform.apply`; the place has no gradient."""
        import tensorflow as tf

        height, width = images.shape[1], images.shape[2]
        side = tf.floor(tf.sqrt(strength * (height * width)) + _ROUNDING)
        side = tf.minimum(side, min(height, width))
        covered = []
        for axis, length in enumerate((height, width)):
            free = length - side
            first = tf.floor((values[:, axis] + 1) / 2 * free + 0.5)[:, None]
            along = tf.range(length, dtype=images.dtype)[None, :]
            covered.append((along >= first) & (along < first + side))
        inside = covered[0][:, :, None, None] & covered[1][:, None, :, None]
        return tf.where(inside, content, images)

    def grid(self, points: int) -> Iterator[tuple[Sequence[float], Sequence[float] | None]]:
        """See `Transform.grid`: stickers of one colour at evenly spaced places."""
        places = np.linspace(-1, 1, points).tolist()
        yield from itertools.product(itertools.product(places, repeat=2), _COLOURS)

    def difference(self, adversarial: Any, clean: Any, rendered: Any, values: Values, strength: float) -> Any:
        """See `Transform.difference`; inside of the sticker anything is allowed."""
        del rendered
        apart = np.abs(adversarial.astype(np.int64) - clean).max(axis=3, initial=0)
        for index, one in enumerate(values):
            top, left, side = place_of(one, adversarial.shape[1], adversarial.shape[2], strength)
            apart[index, top : top + side, left : left + side] = 0
        return apart.max(axis=(1, 2), initial=0)


def side_of(height: int, width: int, strength: float) -> int:
    """Return the side of a sticker in pixels."""
    return min(math.floor(math.sqrt(strength * height * width) + _ROUNDING), height, width)


def place_of(values: npt.NDArray[np.float32], height: int, width: int, strength: float) -> tuple[int, int, int]:
    """Return the first row, the first column and the side of a sticker in pixels."""
    side = side_of(height, width, strength)
    rows, columns = (
        math.floor((float(value) + 1) / 2 * (length - side) + 0.5)
        for value, length in zip(values, (height, width), strict=True)
    )
    return rows, columns, side
