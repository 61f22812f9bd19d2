"""Random points of a threat model, each drawn from the seed of its image and a number alone."""

from __future__ import annotations

import numpy as np

from dermrobust.attacks.problem import Seeds
from dermrobust.attacks.randomness import generator
from dermrobust.attacks.transforms.threat import TransformThreat
from dermrobust.attacks.transforms.transform import Content, Values

_STRIDE = 0xA24BAED4963EE407
"""Distance between the seeds of draws."""
_ODD = 0x9E3779B1


def drawn(
    threat: TransformThreat, seeds: Seeds, numbers: np.ndarray[tuple[int], np.dtype[np.int64]], shape: tuple[int, ...]
) -> tuple[Values, Content]:
    """Return a point for each image: uniform in the box of parameters; every second sticker is of one colour.

    Args:
        threat: threat model.
        seeds: uint64 [count].
        numbers: int64 [count], number of the draw of each image.
        shape: shape of an image.
    """
    transform = threat.transform
    bounds, has_content = transform.bounds(threat.strength), transform.has_content
    values = np.empty((len(seeds), len(bounds)), np.float32)
    content = np.empty((len(seeds), *(shape if has_content else (0,))), np.float32)
    for index, (seed, number) in enumerate(zip(seeds, numbers, strict=True)):
        # Modulo 2**64: the sum of Python integers does not wrap around by itself.
        random = generator(np.uint64((int(seed) + int(number) * _STRIDE) % 2**64))
        values[index] = (2 * random.random(len(bounds), dtype=np.float32) - 1) * bounds
        if has_content:
            content[index] = random.random(3 if number % 2 == 0 else shape, dtype=np.float32)
    return values, content


def corners(
    threat: TransformThreat, seeds: Seeds, numbers: np.ndarray[tuple[int], np.dtype[np.int64]], values: Values
) -> Values:
    """Return a corner of the box of parameters for each image; consecutive numbers repeat none before all have been.

    Args:
        threat: threat model.
        seeds: uint64 [count].
        numbers: int64 [count].
        values: float32 [count, parameter], kept where a parameter has no ends to prefer: the place of a sticker.
    """
    transform = threat.transform
    scaled = np.flatnonzero([each.scaled for each in transform.parameters])
    result, bounds = values.copy(), transform.bounds(threat.strength)
    for index, (seed, number) in enumerate(zip(seeds, numbers, strict=True)):
        # An odd step visits all of 2 ** n numbers before it repeats one.
        corner = int(seed) + int(number) * _ODD
        result[index, scaled] = [bounds[each] * (1 - 2 * (corner >> bit & 1)) for bit, each in enumerate(scaled)]
    return result


def nearest_corners(threat: TransformThreat, values: Values) -> Values:
    """Return the corner of the box of parameters that is nearest to each point; see `corners`."""
    transform = threat.transform
    scaled = np.asarray([each.scaled for each in transform.parameters])
    ends = np.where(values < 0, np.float32(-1), np.float32(1)) * transform.bounds(threat.strength)
    return np.where(scaled, ends, values)
