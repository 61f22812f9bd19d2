"""Transformations one after another."""

from __future__ import annotations

from typing import Any

from dermrobust.attacks.transforms.parameter import Parameter
from dermrobust.attacks.transforms.transform import Transform


class Combined(Transform):
    """Transformations that are applied in their order, all at one strength.

    Attributes:
        parts: the transformations; none of them has content.
    """

    def __init__(self, parts: tuple[Transform, ...]) -> None:
        """Join transformations.

        Raises:
            ValueError: one occurs twice, or has content.
        """
        names = [part.name for part in parts]
        if len(set(names)) < len(names):
            raise ValueError(f"'{'+'.join(names)}' names a transformation twice")
        for part in parts:
            if part.has_content:
                raise ValueError(f"{part.name} cannot be combined with other transformations; list it by itself")
        self.parts = parts

    @property
    def name(self) -> str:
        """Names of the parts with "+" between them."""
        return "+".join(part.name for part in self.parts)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """See `Transform.parameters`; those of all parts, whose names differ."""
        return tuple(parameter for part in self.parts for parameter in part.parameters)

    def apply(self, images: Any, values: Any, content: Any, strength: Any) -> Any:
        """See `Transform.apply`."""
        first = 0
        for part in self.parts:
            last = first + len(part.parameters)
            images, first = part.apply(images, values[:, first:last], content, strength), last
        return images
