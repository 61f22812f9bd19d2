"""Procedural dermatoscopic images: a stand-in for HAM10000 that needs no download and harms no one's privacy.

They teach nothing about disease. They have what the pipeline must cope with: seven unequal classes that can be
mistaken for each other, several photographs of one lesion, hair, ruler marks and uneven light.
"""

from __future__ import annotations

from enum import IntEnum
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from dermrobust.components.ingest.datasets.synthetic.artefacts import draw_artefacts, sensor_noise
from dermrobust.components.ingest.datasets.synthetic.fields import Field, blend, generator
from dermrobust.components.ingest.datasets.synthetic.lesion import body_colour, photograph_coordinates, view_lesion
from dermrobust.components.ingest.datasets.synthetic.population import SyntheticRecord
from dermrobust.components.ingest.datasets.synthetic.skin import draw_skin, light
from dermrobust.components.ingest.datasets.synthetic.structures import draw_structures
from dermrobust.components.ingest.datasets.synthetic.traits import draw_traits

_MIN_SIDE = 8


class _Stream(IntEnum):
    """Random streams: a step that draws more or fewer numbers leaves the other steps as they were."""

    TRAITS = 0
    SHAPE = 1
    COLOUR = 2
    SKIN = 3
    CAMERA = 4
    ARTEFACTS = 5
    LIGHT = 6
    SENSOR = 7


def render(record: SyntheticRecord, height: int = 75, width: int = 100) -> npt.NDArray[np.uint8]:
    """Draw the photograph of `record`: uint8 [height, width, 3], sRGB.

    The pixels hang on (dx, lesion_seed, image_seed, height, width) alone, and are the same on every processor. Other
    sizes show the same scene, but for the noise of the sensor; the height always spans the same piece of skin.

    Raises:
        ValueError: a side shorter than 8 pixels, or an unknown class.
    """
    if min(height, width) < _MIN_SIDE:
        raise ValueError(f"synthetic: an image needs at least {_MIN_SIDE} x {_MIN_SIDE} pixels, got {height} x {width}")
    canvas = _scene(record, height, width)
    draw_artefacts(canvas, record.image_seed, _Stream.ARTEFACTS)
    light(canvas, record.image_seed, _Stream.LIGHT)
    sensor_noise(canvas, record.image_seed, _Stream.SENSOR)
    pixels = np.rint(np.clip(canvas, 0.0, 1.0) * np.float32(255.0)).astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(1, 2, 0))


def encode_png(image: npt.NDArray[np.uint8]) -> bytes:
    """PNG of `image` uint8 [height, width, 3]; compressed lightly (13 % larger, in 60 % of the time)."""
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def _scene(record: SyntheticRecord, height: int, width: int) -> Field:
    """Skin with lesion, float32 [3, height, width], as an even light would show it."""
    seed = record.lesion_seed
    traits = draw_traits(record.dx, generator(seed, _Stream.TRAITS))
    u, v = photograph_coordinates(generator(record.image_seed, _Stream.CAMERA), height, width)
    canvas, skin_darkness = draw_skin(generator(seed, _Stream.SKIN), u, v)
    view = view_lesion(traits, generator(seed, _Stream.SHAPE), u, v)
    colour = body_colour(traits, generator(seed, _Stream.COLOUR), view)
    # Pigment of the skin darkens the lesion too, but less than the skin.
    colour *= np.float32(1.0 - 0.3 * skin_darkness)
    blend(canvas, colour, np.float32(traits.opacity) * view.inside)
    draw_structures(canvas, view, seed, traits)
    return canvas
