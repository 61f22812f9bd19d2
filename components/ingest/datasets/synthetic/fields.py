"""Scalar fields over the pixels of an image: coordinates, noise, spots and lines.

Only additions, multiplications, divisions, square roots and comparisons touch the pixels. IEEE 754 fixes their
results, so the pixels are the same on every processor; NumPy's exp, sin and power are not.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float32]
"""float32 [..., height, width], or a broadcastable part of it."""

_LATTICE = 16


def generator(seed: int, stream: int) -> np.random.Generator:
    """Independent generator for each (seed, stream); the key is the whole state, so no call order matters."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, stream], dtype=np.uint64)))


def uniform(rng: np.random.Generator, low: float, high: float, *shape: int) -> Field:
    """float32 [*shape], uniform in [low, high)."""
    return rng.random(shape, dtype=np.float32) * np.float32(high - low) + np.float32(low)


def number(rng: np.random.Generator, low: float, high: float) -> float:
    """One float, uniform in [low, high)."""
    return low + (high - low) * float(rng.random())


def directions(rng: np.random.Generator, count: int) -> tuple[Field, Field]:
    """Cosines and sines [count] of random angles, by the rational parametrization of the circle."""
    t = uniform(rng, -1.0, 1.0, count)
    sign = np.sign(uniform(rng, -1.0, 1.0, count))
    return sign * (1.0 - t * t) / (1.0 + t * t), sign * 2.0 * t / (1.0 + t * t)


@lru_cache(maxsize=8)
def image_grid(height: int, width: int) -> tuple[Field, Field]:
    """Pixel centers x, y [height, width]; y runs over (-1, 1) whatever the size, pixels are square."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x = (2.0 * x + np.float32(1 - width)) / np.float32(height)
    y = (2.0 * y + np.float32(1 - height)) / np.float32(height)
    x.flags.writeable = y.flags.writeable = False
    return x, y


def smoothstep(x: Field, low: float, high: float) -> Field:
    """0 at `low`, 1 at `high`, a cubic between, constant beyond; `low` may be the larger one."""
    t: Field = np.clip((x - np.float32(low)) * np.float32(1.0 / (high - low)), 0.0, 1.0)
    return t * t * (np.float32(3.0) - 2.0 * t)


def blend(canvas: Field, color: Field | tuple[float, float, float], alpha: Field) -> None:
    """Lay `color` ([3] or [3, height, width]) over `canvas` [3, height, width] in place, `alpha` [height, width]."""
    paint = np.asarray(color, dtype=np.float32)
    if paint.ndim == 1:
        paint = paint[:, None, None]
    canvas += alpha * (paint - canvas)


def value_noise(rng: np.random.Generator, u: Field, v: Field, frequency: float, channels: int) -> Field:
    """Smooth noise [channels, height, width] in [-1, 1]: a random lattice, interpolated at (u, v) * frequency."""
    lattice = uniform(rng, -1.0, 1.0, channels, _LATTICE * _LATTICE)
    offset = number(rng, 0.0, _LATTICE), number(rng, 0.0, _LATTICE)
    row, row_next, fraction_v = _cells(v * np.float32(frequency) + np.float32(offset[1]))
    column, column_next, fraction_u = _cells(u * np.float32(frequency) + np.float32(offset[0]))
    row, row_next = row * _LATTICE, row_next * _LATTICE
    top = lattice.take(row + column, axis=1)
    top += fraction_u * (lattice.take(row + column_next, axis=1) - top)
    bottom = lattice.take(row_next + column, axis=1)
    bottom += fraction_u * (lattice.take(row_next + column_next, axis=1) - bottom)
    top += fraction_v * (bottom - top)
    return top


def _cells(t: Field) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Field]:
    """Lattice index at or below `t`, the next one (both wrapped) and the eased fraction between."""
    floor = np.floor(t)
    fraction = t - floor
    cell = floor.astype(np.intp) % _LATTICE
    return cell, (cell + 1) % _LATTICE, fraction * fraction * (np.float32(3.0) - 2.0 * fraction)


def spots(u: Field, v: Field, centers: tuple[Field, Field], radii: Field, hardness: float) -> Field:
    """Union [height, width] in [0, 1] of round spots; `hardness` 1 is a soft bump, more is flatter with a firm rim.

    `centers` is two arrays [n], `radii` is [n], all in the units of `u` and `v`.
    """
    du = u - centers[0][:, None, None]
    dv = v - centers[1][:, None, None]
    inverse = (1.0 / (radii * radii))[:, None, None]
    nearness = np.float32(1.0) - np.min((du * du + dv * dv) * inverse, axis=0)
    union: Field = np.clip(nearness * np.float32(hardness), 0.0, 1.0)
    return union


def strokes(u: Field, v: Field, starts: tuple[Field, Field], ends: tuple[Field, Field], widths: Field) -> Field:
    """Union [height, width] in [0, 1] of straight strokes with soft edges; `widths` [n] is where they fade out."""
    along_u, along_v = ends[0] - starts[0], ends[1] - starts[1]
    inverse = 1.0 / (along_u * along_u + along_v * along_v + np.float32(1e-6))
    du, dv = u - starts[0][:, None, None], v - starts[1][:, None, None]
    along_u, along_v = along_u[:, None, None], along_v[:, None, None]
    t = np.clip((du * along_u + dv * along_v) * inverse[:, None, None], 0.0, 1.0)
    du -= t * along_u
    dv -= t * along_v
    squares = (du * du + dv * dv) * (1.0 / (widths * widths))[:, None, None]
    union: Field = np.maximum(np.float32(1.0) - np.min(squares, axis=0), 0.0)
    return union


def honeycomb(u: Field, v: Field, frequency: float) -> Field:
    """Hexagonal pattern [height, width] in [0, 1]: near 0 on the lines of a net, 1 in the middle of its holes."""
    holes = np.ones_like(u)
    for cosine, sine in ((1.0, 0.0), (0.5, 0.8660254), (-0.5, 0.8660254)):
        phase = (u * np.float32(cosine) + v * np.float32(sine)) * np.float32(frequency)
        phase -= np.floor(phase)
        holes -= np.float32(1.5) * phase * (np.float32(1.0) - phase)
    return holes
