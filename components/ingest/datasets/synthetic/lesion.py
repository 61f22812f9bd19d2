"""The body of a lesion: its place in the photograph, its outline and its colors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dermrobust.components.ingest.datasets.synthetic.fields import (
    Field,
    directions,
    image_grid,
    number,
    smoothstep,
    uniform,
    value_noise,
)
from dermrobust.components.ingest.datasets.synthetic.traits import Traits

_HARMONICS = 5

# Pigment from little to much, then blood from little to much; sRGB in [0, 1].
_BROWNS = ((0.80, 0.58, 0.43), (0.60, 0.38, 0.25), (0.38, 0.22, 0.15), (0.16, 0.10, 0.09))
_REDS = ((0.90, 0.62, 0.58), (0.80, 0.42, 0.40), (0.58, 0.20, 0.24), (0.28, 0.08, 0.16))
_WAX = np.array((0.76, 0.60, 0.43), dtype=np.float32)[:, None, None]


@dataclass(frozen=True)
class LesionView:
    """A lesion as one photograph shows it; all fields are float32.

    Attributes:
        u, v: [height, width], coordinates fixed to the lesion, whose mean radius is 1.
        inside: [height, width], how much of the pixel the lesion covers, in [0, 1].
        depth: [height, width], distance to the outline, positive inside.
        broad: [4, height, width], noise of half a radius, in [-1, 1].
        fine: [2, height, width], noise of a tenth of a radius, in [-1, 1].
        pixel: size of a pixel in lesion radii.
    """

    u: Field
    v: Field
    inside: Field
    depth: Field
    broad: Field
    fine: Field
    pixel: float


def photograph_coordinates(rng: np.random.Generator, height: int, width: int) -> tuple[Field, Field]:
    """Skin coordinates [height, width] (in half image heights) under a camera at random place, angle and distance."""
    x, y = image_grid(height, width)
    cosine, sine = (float(component[0]) for component in directions(rng, 1))
    zoom = number(rng, 0.85, 1.2)
    shift_x, shift_y = number(rng, -0.18, 0.18), number(rng, -0.18, 0.18)
    cosine, sine = cosine / zoom, sine / zoom
    dx, dy = x - np.float32(shift_x), y - np.float32(shift_y)
    return dx * np.float32(cosine) + dy * np.float32(sine), dy * np.float32(cosine) - dx * np.float32(sine)


def view_lesion(traits: Traits, rng: np.random.Generator, skin_u: Field, skin_v: Field) -> LesionView:
    """Place a lesion on the skin; `rng` must be the lesion's, so that it has one outline in all its photographs."""
    u, v = skin_u * np.float32(1.0 / traits.size), skin_v * np.float32(1.0 / traits.size)
    broad = value_noise(rng, u, v, 1.6, 4)
    # Bending the coordinates hides the square lattice of the noise.
    bend = np.float32(0.15)
    fine = value_noise(rng, u + bend * broad[0], v + bend * broad[1], 7.0, 2)
    depth = _depth(traits, rng, u, v, broad, fine)
    softness = 0.06 + 0.34 * traits.softness
    return LesionView(
        u=u,
        v=v,
        inside=smoothstep(depth, -softness, softness),
        depth=depth,
        broad=broad,
        fine=fine,
        pixel=2.0 / (u.shape[0] * traits.size),
    )


def _depth(traits: Traits, rng: np.random.Generator, u: Field, v: Field, broad: Field, fine: Field) -> Field:
    """Signed distance [height, width] to an ellipse whose radius has random harmonics and whose edge is frayed."""
    stretch = np.float32(1.0 + 0.5 * traits.elongation)
    a, b = u / stretch, v * stretch
    radius = np.sqrt(a * a + b * b) + np.float32(1e-6)
    cosine, sine = a / radius, b / radius
    outline: Field = np.ones_like(u)
    # Angle addition gives the harmonics from the first one without trigonometric functions.
    harmonic_c, harmonic_s = cosine, sine
    # Slow waves are the largest: equal ones would make stars, not blots.
    decay = np.float32(1.0) / np.arange(1, _HARMONICS + 1, dtype=np.float32)[:, None]
    weights = uniform(rng, -1.0, 1.0, _HARMONICS, 2) * decay * np.float32(0.7 * traits.irregularity)
    for weight_c, weight_s in weights:
        harmonic_c, harmonic_s = harmonic_c * cosine - harmonic_s * sine, harmonic_s * cosine + harmonic_c * sine
        outline += weight_c * harmonic_c + weight_s * harmonic_s
    frayed = np.float32(0.7 * traits.irregularity) * broad[3] + np.float32(0.3 * traits.irregularity) * fine[1]
    distance: Field = outline + frayed - radius
    return distance


def body_color(traits: Traits, rng: np.random.Generator, view: LesionView) -> Field:
    """Color [3, height, width] of the lesion without structures, in [0, 1]."""
    cosine, sine = directions(rng, 2)
    tilt = view.u * cosine[0] + view.v * sine[0]
    pigment = np.float32(traits.darkness) + np.float32(0.35 * traits.asymmetry) * tilt
    pigment += np.float32(0.55 * traits.variegation) * view.broad[0] + np.float32(0.1) * view.fine[0]
    color = _ramp(_BROWNS, pigment)
    red_tilt = np.float32(0.4 * traits.asymmetry) * (view.u * cosine[1] + view.v * sine[1])
    blood = np.float32(traits.redness) + np.float32(0.6 * traits.variegation) * view.broad[1] + red_tilt
    blood = np.clip(blood, 0.0, 1.0) if traits.redness < 0.85 else np.clip(blood, 0.85, 1.0)
    color += blood * (_ramp(_REDS, pigment) - color)
    wax = np.clip(np.float32(traits.waxiness) * (np.float32(0.55) + np.float32(0.5) * view.broad[2]), 0.0, 1.0)
    color += wax * (_WAX - color)
    return color


def _ramp(stops: tuple[tuple[float, float, float], ...], position: Field) -> Field:
    """Piecewise linear colors [3, height, width]; `position` 0 is the first stop, 1 the last."""
    scaled = position * np.float32(len(stops) - 1)
    table = np.array(stops, dtype=np.float32)[:, :, None, None]
    color = np.broadcast_to(table[0], (3, *position.shape)).copy()
    for i in range(len(stops) - 1):
        color += np.clip(scaled - np.float32(i), 0.0, 1.0) * (table[i + 1] - table[i])
    return color
