"""Base class of image transformations that an attacker may apply."""

from __future__ import annotations

import abc
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dermrobust.attacks.transforms.parameter import Parameter

Values = npt.NDArray[np.float32]
"""float32 [batch, parameter], in the units and order of `Transform.parameters`."""
Content = npt.NDArray[np.float32]
"""float32 [batch, height, width, 3] in [0, 1], what a sticker shows; [batch, 0] for transformations without one."""

LEAST_STRENGTH = 1e-4
"""Tables hold strengths with six digits after the point."""
_MOST_CORNERS = 64


class Transform(abc.ABC):
    """A family of images that follow from a clean one by a few parameters.

    A subclass declares its parameters; `apply` is differentiable by the values and the content.
    """

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """Name by which a config selects the transformation."""

    @property
    @abc.abstractmethod
    def parameters(self) -> tuple[Parameter, ...]:
        """Parameters in the order of their values."""

    @property
    def has_content(self) -> bool:
        """Whether the attacker also draws a part of the image; see `Content`."""
        return False

    def bounds(self, strength: float) -> Values:
        """Return the largest absolute value of each parameter at a strength: float32 [parameter]."""
        reach = [each.reach * (strength if each.scaled else 1.0) for each in self.parameters]
        return np.asarray(reach, np.float32)

    def check_strength(self, strength: float) -> None:
        """Refuse a strength that the transformation is not defined for.

        Raises:
            ValueError: the strength is out of range.
        """
        if not LEAST_STRENGTH <= strength <= 1:
            raise ValueError(f"{self.name}:{strength:g}: the strength must be {LEAST_STRENGTH:g} to 1")

    def check_size(self, height: int, width: int, strength: float) -> None:
        """Refuse images that the transformation cannot change at a strength.

        Raises:
            ValueError: no stored image differs from the clean one.
        """
        del height, width, strength

    @abc.abstractmethod
    def apply(self, images: Any, values: Any, content: Any, strength: Any) -> Any:
        """Return transformed images in [0, 1], a tensor of the shape and type of `images`.

        Args:
            images: tensor [batch, height, width, 3] in [0, 1], float32 or float64.
            values: tensor [batch, parameter] of the same type.
            content: tensor of the same type; see `Content`.
            strength: scalar tensor of the same type.
        """

    def grid(self, points: int) -> Iterator[tuple[Sequence[float], Sequence[float] | None]]:
        """Yield the points of a grid: each parameter as a share of its bound, in [-1, 1], and the colour of a sticker.

        Each parameter alone at evenly spaced values, then the corners of the box where there are at most 64 of them.

        Args:
            points: number of values of each parameter.
        """
        count = len(self.parameters)
        for index, value in itertools.product(range(count), np.linspace(-1, 1, points)):
            yield [float(value) if each == index else 0.0 for each in range(count)], None
        if 2**count <= _MOST_CORNERS:
            yield from ((corner, None) for corner in itertools.product((-1.0, 1.0), repeat=count))

    def difference(self, adversarial: Any, clean: Any, rendered: Any, values: Values, strength: float) -> Any:
        """Return how far stored images are from what the threat allows, in levels: int64 [batch].

        Args:
            adversarial: uint8 [batch, height, width, 3], the stored images.
            clean: uint8, the images that they were made of.
            rendered: uint8, the clean images transformed again.
            values: float32 [batch, parameter].
            strength: strength of the threat.
        """
        del clean, values, strength
        return np.abs(adversarial.astype(np.int64) - rendered).max(axis=(1, 2, 3), initial=0)
