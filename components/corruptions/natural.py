"""Natural corruptions of dermatoscopic images, from hardly visible (severity 1) to heavy (severity 5).

They model light, focus, compression, sensor noise, ink on the skin and bubbles in the gel. Common corruptions in five
severities go back to Hendrycks and Dietterich (2019, arXiv 1903.12261), and to Di Salvo, Doerrich and Ledig (2024,
arXiv 2406.17536) for medical images. Implementation and severities are this project's own, so results cannot be
compared with the published tables.

Every length is a fraction of the image's side (the shorter one for blur, the longer one for marks), so that a severity
means the same at 28 and at 224 pixels. Random numbers (noise, positions of marks) depend on the image's id and the
corruption's name only: they are the same in any batch, and a higher severity adds to the lower ones.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from dermrobust.components.corruptions.registry import CORRUPTIONS

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

Corruption = Callable[[Pixels, int, np.random.Generator], Pixels]
"""From one image uint8 [height, width, 3], a severity and the image's own random numbers to the corrupted image."""

SEVERITIES = (1, 2, 3, 4, 5)

_GAMMA = 2.2  # of sRGB, nearly: so much light is a gain of light ** (1 / 2.2) on stored values
_STOPS_UP = (0.2, 0.4, 0.65, 0.95, 1.3)
_STOPS_DOWN = (0.4, 0.8, 1.3, 1.9, 2.6)
_DISC_RADII = (0.020, 0.028, 0.038, 0.050, 0.064)
_JPEG_QUALITIES = (50, 30, 18, 11, 6)
_NOISE_LEVELS = (5.0, 10.0, 17.0, 26.0, 38.0)
_BUBBLES = (4, 8, 14, 22, 32)

_INKS = ((70, 40, 130), (35, 70, 150), (40, 40, 45))  # gentian violet, blue, black
_INK_OPACITY = 0.85
_OVERSAMPLING = 4  # masks are drawn larger and averaged, which smooths their edges


def corrupt(name: str, severity: int, pixels: Pixels, image_ids: Sequence[str]) -> Pixels:
    """Return corrupted images: uint8 [count, height, width, 3].

    Args:
        name: an entry of the registry of corruptions.
        severity: 1 to 5.
        pixels: uint8 [count, height, width, 3].
        image_ids: ids [count]; the result for an image depends on its own pixels and id only.

    Raises:
        ValueError: there is no such corruption or severity, or images and ids do not match.
    """
    corruption: Corruption = CORRUPTIONS.resolve(name)
    if severity not in SEVERITIES:
        raise ValueError(f"there is no severity {severity} of a corruption, only 1 to {SEVERITIES[-1]}")
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] != 3:
        raise ValueError(f"images must be uint8 [count, height, width, 3], found {pixels.dtype} {list(pixels.shape)}")
    if len(image_ids) != len(pixels):
        raise ValueError(f"each image needs one id: found {len(pixels)} images, {len(image_ids)} ids")
    corrupted = np.empty_like(pixels)
    for index, image_id in enumerate(image_ids):
        corrupted[index] = corruption(pixels[index], severity, _random(name, image_id))
    return corrupted


def brightness_up(image: Pixels, severity: int, random: np.random.Generator) -> Pixels:
    """Return an image exposed for longer, by 0.2 to 1.3 stops; what is too bright is clipped."""
    del random
    return _exposed(image, _STOPS_UP[severity - 1])


def brightness_down(image: Pixels, severity: int, random: np.random.Generator) -> Pixels:
    """Return an image exposed for a shorter time, by 0.4 to 2.6 stops."""
    del random
    return _exposed(image, -_STOPS_DOWN[severity - 1])


def defocus_blur(image: Pixels, severity: int, random: np.random.Generator) -> Pixels:
    """Return an image out of focus: each point becomes an even disc, of 2 % to 6.4 % of the side in radius."""
    del random
    height, width = image.shape[:2]
    # Fourier transforms are periodic: without a margin the opposite edge would bleed in.
    margin = _disc_margin(min(height, width), severity)
    padded = np.pad(image.astype(np.float32), ((margin, margin), (margin, margin), (0, 0)), mode="symmetric")
    # scipy.fft differs in the last bit, which after rounding would change 5 in 100,000 pixels of real images.
    spectrum = np.fft.rfft2(padded, axes=(0, 1)) * _disc_spectrum(height, width, severity)[..., np.newaxis]
    blurred = np.fft.irfft2(spectrum, padded.shape[:2], axes=(0, 1))
    return _to_pixels(blurred[margin : margin + height, margin : margin + width])


def jpeg(image: Pixels, severity: int, random: np.random.Generator) -> Pixels:
    """Return an image after JPEG at quality 50 to 6, color at half the resolution."""
    del random
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=_JPEG_QUALITIES[severity - 1], subsampling="4:2:0")
    return np.asarray(Image.open(buffer))


def gaussian_noise(image: Pixels, severity: int, random: np.random.Generator) -> Pixels:
    """Return an image with independent noise on each value, its standard deviation 5 to 38 of 255."""
    # Drawn before it is scaled, so that severities differ in strength only.
    noise = random.standard_normal(image.shape, dtype=np.float32)
    return _to_pixels(image + np.float32(_NOISE_LEVELS[severity - 1]) * noise)


def marker(image: Pixels, severity: int, random: np.random.Generator) -> Pixels:
    """Return an image with ink on the skin: a ruler's ticks along an edge, and 0 to 4 pen strokes round the lesion."""
    ink, right_angles = random.choice(_INKS), int(random.integers(4))
    # A square mask turns by right angles; it is fitted to the image afterwards.
    size = max(image.shape[:2]) * _OVERSAMPLING
    mask = Image.new("L", (size, size))
    draw = ImageDraw.Draw(mask)
    _draw_ruler(draw, size, random)
    for _ in range(severity - 1):
        _draw_stroke(draw, size, random)
    return _blend(image, ink, _INK_OPACITY * _coverage(mask.rotate(90 * right_angles), image))


def bubble(image: Pixels, severity: int, random: np.random.Generator) -> Pixels:
    """Return an image with 4 to 32 air bubbles in the gel: pale discs with a bright rim and a reflection."""
    size = max(image.shape[:2]) * _OVERSAMPLING
    # All bubbles are drawn from the generator at any severity: a higher one shows the same and more.
    x, y = random.uniform(0, size, (2, _BUBBLES[-1]))
    radius = size * random.uniform(0.02, 0.07, _BUBBLES[-1])
    shown = slice(_BUBBLES[severity - 1])
    mask = Image.new("L", (size, size))
    draw = ImageDraw.Draw(mask)
    bubbles = list(zip(x[shown], y[shown], radius[shown], strict=True))
    # From the palest part to the brightest, so that where bubbles overlap the brighter one stays.
    for center_x, center_y, length in bubbles:
        draw.circle((center_x, center_y), length, fill=50)
    for center_x, center_y, length in bubbles:
        draw.circle((center_x, center_y), length, outline=150, width=max(1, round(0.2 * length)))
    for center_x, center_y, length in bubbles:
        draw.circle((center_x - 0.4 * length, center_y - 0.4 * length), 0.25 * length, fill=230)
    return _blend(image, (255, 255, 255), _coverage(mask, image))


def _random(name: str, image_id: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{name}/{image_id}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


def _to_pixels(values: npt.NDArray[Any]) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _exposed(image: Pixels, stops: float) -> Pixels:
    return _to_pixels(np.arange(256) * 2.0 ** (stops / _GAMMA))[image]


def _blend(image: Pixels, color: Sequence[int], opacity: Floats) -> Pixels:
    """Lay a color over an image, its opacity in [0, 1] [height, width]."""
    return _to_pixels(image + opacity[..., np.newaxis] * (np.asarray(color, np.float32) - image))


def _disc_margin(size: int, severity: int) -> int:
    return int(np.ceil(size * _DISC_RADII[severity - 1])) + 1


@lru_cache(maxsize=16)
def _disc_spectrum(height: int, width: int, severity: int) -> npt.NDArray[np.complexfloating[Any, Any]]:
    """Fourier transform of an even disc for a padded image; its edge pixels count by the share that is covered."""
    size = min(height, width)
    margin = _disc_margin(size, severity)
    fine = 16
    offsets = (np.arange((2 * margin + 1) * fine) + 0.5) / fine - margin - 0.5
    inside = np.hypot(offsets, offsets[:, np.newaxis]) <= size * _DISC_RADII[severity - 1]
    disc = inside.reshape(2 * margin + 1, fine, 2 * margin + 1, fine).mean(axis=(1, 3), dtype=np.float32)
    kernel = np.zeros((height + 2 * margin, width + 2 * margin), np.float32)
    kernel[: 2 * margin + 1, : 2 * margin + 1] = disc / disc.sum()
    return np.fft.rfft2(np.roll(kernel, (-margin, -margin), axis=(0, 1)))


def _draw_ruler(draw: ImageDraw.ImageDraw, size: int, random: np.random.Generator) -> None:
    """Draw ticks along the upper edge, each fifth one longer."""
    distance = size * random.uniform(0.04, 0.06)
    start = random.uniform(0, distance)
    for index in range(int((size - start) / distance) + 1):
        length = size * (0.10 if index % 5 == 0 else 0.06)
        x = start + index * distance
        draw.line((x, 0, x, length), fill=255, width=max(1, round(0.012 * size)))


def _draw_stroke(draw: ImageDraw.ImageDraw, size: int, random: np.random.Generator) -> None:
    """Draw a pen stroke: a part of a circle about a point near the middle."""
    x, y = size * random.uniform(0.42, 0.58, 2)
    radius = size * random.uniform(0.36, 0.48)
    start = random.uniform(0, 360)
    box = (x - radius, y - radius, x + radius, y + radius)
    draw.arc(box, start, start + random.uniform(50, 110), fill=255, width=round(size * random.uniform(0.02, 0.04)))


def _coverage(mask: Image.Image, image: Pixels) -> Floats:
    """Average an oversampled square mask over the pixels of an image: float32 in [0, 1] [height, width]."""
    height, width = image.shape[:2]
    if height != width:
        mask = mask.resize((width * _OVERSAMPLING, height * _OVERSAMPLING))
    return np.asarray(mask.reduce(_OVERSAMPLING), np.float32) / 255.0
