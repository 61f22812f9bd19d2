"""Procedural dermatoscopic images: a substitute for HAM10000 without download and without patients.

They show nothing about disease, but what a pipeline has to handle: seven unequal classes that can be
mistaken for each other, several photographs of one lesion, hair, ruler marks and uneven light.
"""

from __future__ import annotations

from enum import IntEnum
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from dermrobust.components.ingest.datasets.synthetic.fields import Field, blend, generator
from dermrobust.components.ingest.datasets.synthetic.image_artifacts import draw_image_artifacts, sensor_noise
from dermrobust.components.ingest.datasets.synthetic.lesion import body_color, photograph_coordinates, view_lesion
from dermrobust.components.ingest.datasets.synthetic.population import SyntheticRecord
from dermrobust.components.ingest.datasets.synthetic.skin import draw_skin, light
from dermrobust.components.ingest.datasets.synthetic.structures import draw_structures
from dermrobust.components.ingest.datasets.synthetic.traits import draw_traits

_MIN_SIDE = 8


class _Stream(IntEnum):
    """Random streams of the steps: one that draws more numbers changes nothing in the others."""

    TRAITS = 0
    SHAPE = 1
    COLOR = 2
    SKIN = 3
    CAMERA = 4
    IMAGE_ARTIFACTS = 5
    LIGHT = 6
    SENSOR = 7


def render(
    record: SyntheticRecord, height: int = 75, width: int = 100, ambiguity: float = 1.0
) -> npt.NDArray[np.uint8]:
    """Draw the photograph of `record`: uint8 [height, width, 3], sRGB.

    The pixels depend on (dx, lesion_seed, image_seed, height, width, ambiguity) alone, and are the same on every
    processor. Other sizes show the same scene, but for the noise of the sensor; the height always spans the same piece
    of skin.

    Raises:
        ValueError: a side shorter than 8 pixels, or an unknown class.
    """
    if min(height, width) < _MIN_SIDE:
        raise ValueError(f"synthetic: an image needs at least {_MIN_SIDE} x {_MIN_SIDE} pixels, got {height} x {width}")
    canvas = _scene(record, height, width, ambiguity)
    draw_image_artifacts(canvas, record.image_seed, _Stream.IMAGE_ARTIFACTS)
    light(canvas, record.image_seed, _Stream.LIGHT)
    sensor_noise(canvas, record.image_seed, _Stream.SENSOR)
    pixels = np.rint(np.clip(canvas, 0.0, 1.0) * np.float32(255.0)).astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(1, 2, 0))


def encode_png(image: npt.NDArray[np.uint8]) -> bytes:
    """PNG of `image` uint8 [height, width, 3]; compressed lightly (13 % larger, in 60 % of the time)."""
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def _scene(record: SyntheticRecord, height: int, width: int, ambiguity: float) -> Field:
    """Skin with lesion, float32 [3, height, width], as an even light would show it."""
    seed = record.lesion_seed
    traits = draw_traits(record.dx, generator(seed, _Stream.TRAITS), ambiguity)
    u, v = photograph_coordinates(generator(record.image_seed, _Stream.CAMERA), height, width)
    canvas, skin_darkness = draw_skin(generator(seed, _Stream.SKIN), u, v)
    view = view_lesion(traits, generator(seed, _Stream.SHAPE), u, v)
    color = body_color(traits, generator(seed, _Stream.COLOR), view)
    # Pigment of the skin darkens the lesion too, but less than the skin.
    color *= np.float32(1.0 - 0.3 * skin_darkness)
    blend(canvas, color, np.float32(traits.opacity) * view.inside)
    draw_structures(canvas, view, seed, traits)
    return canvas
