"""Skin tone by the individual typology angle, for slices.

The individual typology angle, ITA = arctan((L* - 50) / b*) in degrees of CIELAB, sorts skin by its colour (Chardon,
Cretois and Hourseau 1991); its six groups are those of Del Bino and Bernerd (2013).

Limits. The angle is defined for a colorimeter on the skin. A dermatoscope has a light and a white balance of its own,
presses the skin pale and reddens it by its contact; published estimates from photographs disagree widely (Kalb et al.
2023, arXiv 2308.09640). In HAM10000, which shows light skin nearly without exception, a third of the images are so
bluish that b* is not even positive. So the groups tell light images from dark ones of the same kind. They are no
Fitzpatrick types and no statement about a person, and a group of few images may be one of badly lit ones.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

UNKNOWN = "unknown"

_LOWER_BOUNDS = {"very_light": 55.0, "light": 41.0, "intermediate": 28.0, "tan": 10.0, "brown": -30.0}
_DARK = "dark"
SKIN_TONES = (*_LOWER_BOUNDS, _DARK)
"""The groups, from light to dark."""

_VIGNETTE = 15.0  # of L*: the black that a dermatoscope's round field leaves in the corners
_MIN_SHARE = 0.05  # of the image: fewer pixels outside the lesion and the vignette are no sample of skin
_LESION_CONTRAST = 12.0  # of L*: shading and texture of bare skin divide into halves less far apart
_BINS = 64

# IEC 61966-2-1: from linear sRGB to CIE XYZ under D65.
_TO_XYZ = np.asarray([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_TO_XYZ_OF_WHITE = (_TO_XYZ / _TO_XYZ.sum(axis=1, keepdims=True)).astype(np.float32)
_ENCODED = np.arange(256) / 255.0
_LINEAR = np.where(_ENCODED <= 0.04045, _ENCODED / 12.92, ((_ENCODED + 0.055) / 1.055) ** 2.4).astype(np.float32)
_KNEE = 6.0 / 29.0


def typology_angles(pixels: Pixels) -> Floats:
    """Estimate the individual typology angle of the skin in each image, in degrees: float32 [count].

    The skin is what lies outside the central half of the image, but for a vignette and, where these pixels fall into
    a darker and a lighter part, the darker one: lesion, hair and ink. The angle is that of the median L* and b*. It
    goes on beyond 90 degrees where b* is negative, so that pale skin under bluish light stays light (the plain
    arctangent would call it dark). It is NaN where the light is bluer than the skin is bright, from 135 degrees on,
    since there a little more of either turns light into dark, and where an image shows no skin, as a black one.

    Args:
        pixels: uint8 [count, height, width, 3], sRGB.
    """
    outside = _outside_center(*pixels.shape[1:3])
    return np.asarray([_angle(image[outside], outside.size) for image in pixels], dtype=np.float32)


def skin_tones(pixels: Pixels) -> list[str]:
    """Return the group of each image uint8 [count, height, width, 3]: one of `SKIN_TONES`, or "unknown"."""
    return [skin_tone(float(angle)) for angle in typology_angles(pixels)]


def skin_tone(angle: float) -> str:
    """Return the group of an angle in degrees, one of `SKIN_TONES`; 'unknown' for NaN."""
    if math.isnan(angle):
        return UNKNOWN
    return next((name for name, bound in _LOWER_BOUNDS.items() if angle > bound), _DARK)


def to_lab(pixels: Pixels) -> Floats:
    """Convert sRGB uint8 [..., 3] to CIELAB under D65, L* in [0, 100]: float32 [..., 3] (IEC 61966-2-1, CIE 15)."""
    xyz = _LINEAR[pixels] @ _TO_XYZ_OF_WHITE.T
    x, y, z = np.moveaxis(np.where(xyz > _KNEE**3, np.cbrt(xyz), xyz / (3 * _KNEE**2) + 4.0 / 29.0), -1, 0)
    return np.stack([116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)], axis=-1)


def _outside_center(height: int, width: int) -> npt.NDArray[np.bool_]:
    """Mask [height, width] of what lies outside the central ellipse of half the image's area."""
    y = (np.arange(height) + 0.5) / height - 0.5
    x = (np.arange(width) + 0.5) / width - 0.5
    return y[:, np.newaxis] ** 2 + x**2 > 0.5 / math.pi


def _angle(border: Pixels, image_area: int) -> float:
    lab = to_lab(border)
    lab = lab[lab[:, 0] > _VIGNETTE]
    if len(lab) < _MIN_SHARE * image_area:
        return math.nan
    lightness, _, yellow = np.median(lab[_skin(lab[:, 0])], axis=0)
    if yellow < 0.0 and lightness - 50.0 < -yellow:
        return math.nan
    return math.degrees(math.atan2(lightness - 50.0, yellow))


def _skin(lightness: Floats) -> npt.NDArray[np.bool_]:
    """Mask of the lighter part of L* [pixel], or of all where there are no two parts.

    A lighter part of less than a quarter is glare on skin rather than skin beside a lesion.
    """
    lighter = lightness > _otsu_threshold(lightness)
    share = lighter.mean()
    if not 0.25 <= share < 1.0:
        return np.ones_like(lighter)
    contrast = np.median(lightness[lighter]) - np.median(lightness[~lighter])
    return lighter if contrast >= _LESION_CONTRAST else np.ones_like(lighter)


def _otsu_threshold(values: npt.NDArray[np.floating[Any]]) -> float:
    """Return the threshold that leaves the most variance between the two parts (Otsu 1979)."""
    counts, edges = np.histogram(values, _BINS)
    below, total = np.cumsum(counts)[:-1], counts.sum()
    moments = np.cumsum(counts * (edges[1:] + edges[:-1]) / 2)
    between = (moments[-1] * below / total - moments[:-1]) ** 2 / np.maximum(below * (total - below), 1)
    return float(edges[1 + int(np.argmax(between))])
