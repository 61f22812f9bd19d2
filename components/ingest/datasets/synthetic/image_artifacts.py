"""Image artifacts between lens and lesion: hairs, ruler marks, air bubbles in the gel, noise of the sensor."""

from __future__ import annotations

import numpy as np

from dermrobust.components.ingest.datasets.synthetic.fields import (
    Field,
    blend,
    directions,
    generator,
    image_grid,
    number,
    uniform,
)


def draw_image_artifacts(canvas: Field, image_seed: int, stream: int) -> None:
    """Lay hairs (often), bubbles and ruler marks (seldom) over `canvas` [3, height, width] in place."""
    rng = generator(image_seed, stream)
    x, y = image_grid(*canvas.shape[1:])
    has_hair, has_bubbles, has_ruler = rng.random(3)
    if has_hair < 0.55:
        _hairs(canvas, x, y, rng)
    if has_bubbles < 0.12:
        _bubbles(canvas, x, y, rng)
    if has_ruler < 0.15:
        _ruler(canvas, x, y, rng)


def sensor_noise(canvas: Field, image_seed: int, stream: int) -> None:
    """Add triangular noise (about 1 % of full scale) to `canvas` in place."""
    rng = generator(image_seed, stream)
    amplitude = np.float32(number(rng, 0.01, 0.035))
    noise = rng.random(canvas.shape, dtype=np.float32)
    noise -= rng.random(canvas.shape, dtype=np.float32)
    noise *= amplitude
    canvas += noise


def _coverage(distance: Field, half_width: float, height: int) -> Field:
    """Fraction of a pixel that a line covers, [height, width]; thinner than a pixel it fades instead of breaking up."""
    pixel = 2.0 / height
    fade = min(1.0, 2.0 * half_width / pixel)
    half = np.float32(max(half_width, 0.5 * pixel) + 0.5 * pixel)
    coverage: Field = np.clip((half - distance) * np.float32(1.0 / pixel), 0.0, 1.0)
    return coverage * np.float32(fade)


def _hairs(canvas: Field, x: Field, y: Field, rng: np.random.Generator) -> None:
    """Arcs of parabolas, roughly combed in one direction."""
    count = 1 + int(10 * rng.random() * rng.random())
    lean = uniform(rng, -0.5, 0.5, count)
    cosine, sine = directions(rng, 1)
    along_x, along_y = cosine - lean * sine, sine + lean * cosine
    norm = np.sqrt(along_x * along_x + along_y * along_y)
    along_x, along_y = (along_x / norm)[:, None, None], (along_y / norm)[:, None, None]
    middle_x, middle_y = (uniform(rng, -1.0, 1.0, count)[:, None, None] for _ in range(2))
    curvature = uniform(rng, -0.5, 0.5, count)[:, None, None]
    length = uniform(rng, 0.5, 1.4, count)[:, None, None]
    dx, dy = x - middle_x, y - middle_y
    s = dx * along_x + dy * along_y
    distance = np.abs(dy * along_x - dx * along_y - curvature * (s * s))
    # The slope of the parabola makes the vertical distance longer than the true one.
    distance /= np.float32(1.0) + np.abs(curvature * s)
    distance += np.maximum(np.abs(s) - length, 0.0)
    shade = number(rng, 0.08, 0.4)
    color = (shade + 0.06, shade + 0.02, shade)
    blend(canvas, color, np.float32(0.85) * _coverage(np.min(distance, axis=0), number(rng, 0.006, 0.014), x.shape[0]))


def _bubbles(canvas: Field, x: Field, y: Field, rng: np.random.Generator) -> None:
    """Bright rings of air bubbles."""
    count = 1 + int(rng.random() * 4)
    dx = x - uniform(rng, -1.3, 1.3, count)[:, None, None]
    dy = y - uniform(rng, -1.0, 1.0, count)[:, None, None]
    radius = uniform(rng, 0.04, 0.13, count)[:, None, None]
    ring = np.min(np.abs(np.sqrt(dx * dx + dy * dy) - radius), axis=0)
    blend(canvas, (1.0, 0.98, 0.97), np.float32(0.6) * _coverage(ring, 0.01, x.shape[0]))


def _ruler(canvas: Field, x: Field, y: Field, rng: np.random.Generator) -> None:
    """Millimeter marks along one edge, every fifth longer."""
    position, across = (x, y) if rng.random() < 0.6 else (y, x)
    edge = float(np.max(across))
    across = np.float32(edge) - across if rng.random() < 0.5 else across + np.float32(edge)
    spacing = number(rng, 0.12, 0.2)
    ticks = position * np.float32(1.0 / spacing) + np.float32(number(rng, 0.0, 5.0))
    nearest = np.rint(ticks)
    distance = np.abs(ticks - nearest) * np.float32(spacing)
    long_tick = nearest - np.float32(5.0) * np.floor(nearest * np.float32(0.2)) == 0.0
    length = np.where(long_tick, np.float32(0.2), np.float32(0.11))
    marks = _coverage(distance, 0.01, x.shape[0]) * (across < length)
    blend(canvas, (0.12, 0.12, 0.14), np.float32(0.75) * marks)
