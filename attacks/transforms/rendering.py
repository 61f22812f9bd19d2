"""Rendering of 8-bit images, and the verification of images that were rendered."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from dermrobust.attacks.errors import AttackError
from dermrobust.attacks.threat import PIXEL_LEVELS, Pixels
from dermrobust.attacks.transforms.threat import TransformThreat
from dermrobust.attacks.transforms.transform import Content, Transform, Values

_TIE = 1e-7
"""Values closer than this below the middle of two levels are rounded up. Bilinear sampling makes many exact ties, such
as at half a pixel, which the last bits of a sum would otherwise decide."""
_BEYOND = 1e-6
"""Share of its bound by which float32 may put a value outside of it."""


def render(threat: TransformThreat, clean: Pixels, values: Values, content: Content) -> Pixels:
    """Return 8-bit images of a threat model.

    It computes in float64, so that neither the batch size nor the processor changes a level.

    Args:
        threat: threat model.
        clean: uint8 [batch, height, width, 3].
        values: float32 [batch, parameter].
        content: see `transform.Content`.

    Raises:
        AttackError: a value is not finite or outside of its bounds.
    """
    if not within_bounds(threat, values).all():
        raise AttackError(f"the attack left the parameters of {threat}")
    arrays = [clean.astype(np.float64) / PIXEL_LEVELS, values.astype(np.float64), content.astype(np.float64)]
    found = _compiled(threat.transform, clean.shape[1:])(
        *map(tf.constant, arrays), tf.constant(threat.strength, tf.float64)
    )
    return np.floor(found.numpy() * PIXEL_LEVELS + (0.5 + _TIE)).astype(np.uint8)


def within_bounds(threat: TransformThreat, values: Values) -> npt.NDArray[np.bool_]:
    """Return which rows of values are inside of the bounds of a threat model: bool [batch]."""
    # NaN compares as False.
    inside = np.abs(values) <= threat.transform.bounds(threat.strength) * (1 + _BEYOND)
    return np.asarray(inside.all(axis=1))


def distances(threat: TransformThreat, adversarial: Pixels, clean: Pixels, values: Values) -> npt.NDArray[np.float64]:
    """Return how far stored images are from the clean ones transformed again, in levels: float64 [batch].

    0: the image is inside of the threat model; infinite: its values are outside of their bounds.

    Args:
        threat: threat model.
        adversarial: uint8 [batch, height, width, 3], the stored images.
        clean: uint8, the images that they were made of.
        values: float32 [batch, parameter], stored beside the images.
    """
    apart = np.full(len(clean), np.inf)
    good = within_bounds(threat, values)
    if good.any():
        transform = threat.transform
        # The stored image is the content: a sticker may show anything.
        content = adversarial[good] / PIXEL_LEVELS if transform.has_content else np.zeros((int(good.sum()), 0))
        rendered = render(threat, clean[good], values[good], content.astype(np.float32))
        apart[good] = transform.difference(adversarial[good], clean[good], rendered, values[good], threat.strength)
    return apart


def without_content(count: int, transform: Transform, shape: tuple[int, ...]) -> Content:
    """Return blank content for so many images of a shape: black stickers, or nothing."""
    return np.zeros((count, *shape) if transform.has_content else (count, 0), np.float32)


# Bounded, because the cache keeps traced programs alive.
@functools.lru_cache(maxsize=16)
def _compiled(transform: Transform, shape: tuple[int, ...]) -> Any:
    content: list[int | None] = [None, *shape] if transform.has_content else [None, 0]
    shapes: tuple[list[int | None], ...] = ([None, *shape], [None, len(transform.parameters)], content, [])
    return tf.function(
        transform.apply, input_signature=[tf.TensorSpec(each, tf.float64) for each in shapes], autograph=False
    )
