"""Skin around the lesion, and the light that falls on all of it."""

from __future__ import annotations

import numpy as np

from dermrobust.components.ingest.datasets.synthetic.fields import (
    Field,
    directions,
    generator,
    image_grid,
    number,
    uniform,
    value_noise,
)

# From light to dark, sRGB in [0, 1].
_TONES = np.array(
    ((0.92, 0.76, 0.71), (0.86, 0.66, 0.58), (0.76, 0.56, 0.46), (0.62, 0.43, 0.35), (0.47, 0.32, 0.26)),
    dtype=np.float32,
)


def draw_skin(rng: np.random.Generator, u: Field, v: Field) -> tuple[Field, float]:
    """Canvas [3, height, width] of bare skin and its darkness in [0, 1]; mostly light, as in HAM10000.

    `rng` must be the lesion's: a patient has one skin.
    """
    darkness = number(rng, 0.0, 1.0)
    darkness *= darkness
    position = darkness * (len(_TONES) - 1.001)
    stop = int(position)
    tone = _TONES[stop] + np.float32(position - stop) * (_TONES[stop + 1] - _TONES[stop])
    tone += np.float32(number(rng, -0.03, 0.03)) + uniform(rng, -0.015, 0.015, 3)
    blotches = value_noise(rng, u, v, 1.3, 1)
    pores = value_noise(rng, u, v, 9.0, 1)
    shade = np.float32(1.0) + np.float32(0.045) * blotches + np.float32(0.03) * pores
    canvas = tone[:, None, None] * shade
    canvas[1:] -= np.float32(0.02) * blotches
    return canvas, darkness


def light(canvas: Field, image_seed: int, stream: int) -> None:
    """Apply exposure, color temperature, gradient and vignette of one photograph to `canvas` in place."""
    rng = generator(image_seed, stream)
    height, width = canvas.shape[1:]
    x, y = image_grid(height, width)
    cosine, sine = (component[0] for component in directions(rng, 1))
    gradient = np.float32(number(rng, 0.0, 0.09))
    vignette = np.float32(number(rng, 0.0, 0.16))
    # A tenth of the photographs show the dark rim of the dermatoscope's tube.
    if rng.random() < 0.1:
        vignette *= np.float32(2.5)
    squares = (x * x + y * y) * np.float32(0.4)
    shade = np.float32(1.0) + gradient * (x * cosine + y * sine) - vignette * squares * squares
    exposure = number(rng, 0.9, 1.08)
    warmth = number(rng, -0.04, 0.04)
    balance = np.array((exposure * (1.0 + warmth), exposure, exposure * (1.0 - warmth)), dtype=np.float32)
    canvas *= np.maximum(shade, 0.0) * balance[:, None, None]
