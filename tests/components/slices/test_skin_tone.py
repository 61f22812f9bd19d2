"""The angle is that of the skin, whatever else is in the picture."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dermrobust.attacks.threat import Pixels
from dermrobust.components.slices.derive import derived_features
from dermrobust.components.slices.registry import SLICES
from dermrobust.components.slices.skin_tone import SKIN_TONES, skin_tone, to_lab, typology_angles
from dermrobust.models.tasks.ham10000 import TASK

# sRGB values with the CIELAB of public converters under D65.
KNOWN_LAB = {
    (0, 0, 0): (0.0, 0.0, 0.0),
    (255, 255, 255): (100.0, 0.0, 0.0),
    (255, 0, 0): (53.24, 80.09, 67.20),
    (0, 255, 0): (87.73, -86.18, 83.18),
    (0, 0, 255): (32.30, 79.19, -107.86),
    (128, 128, 128): (53.59, 0.0, 0.0),
}
SKINS = {
    (240, 215, 198): "very_light",
    (224, 180, 150): "light",
    (205, 155, 120): "intermediate",
    (175, 125, 90): "tan",
    (130, 90, 60): "brown",
    (60, 42, 30): "dark",
}
SIZE = 64
VIOLET_INK = np.asarray((45, 25, 60))


def bare(skin: tuple[int, int, int], size: int = SIZE, seed: int = 0) -> npt.NDArray[np.float64]:
    """Skin with a little texture: [size, size, 3]."""
    texture = np.random.default_rng(seed).normal(0, 2, (size, size, 1))
    return np.asarray(skin, float) + texture


def angle(image: npt.NDArray[np.float64]) -> float:
    pixels = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return float(typology_angles(pixels[np.newaxis])[0])


def expected(skin: tuple[int, int, int]) -> float:
    lightness, _, yellow = (float(value) for value in to_lab(np.asarray(skin, np.uint8)))
    return math.degrees(math.atan((lightness - 50) / yellow))


def ellipse(size: int, y: float, x: float, ratio: float, share: float) -> npt.NDArray[np.bool_]:
    """Mask of an ellipse that covers a share of the image, its axes in the given ratio."""
    rows, columns = (np.mgrid[0:size, 0:size] + 0.5) / size
    radius = math.sqrt(share / math.pi)
    return ((rows - y) / (radius * ratio)) ** 2 + ((columns - x) * ratio / radius) ** 2 < 1


@pytest.mark.parametrize("color", KNOWN_LAB)
def test_colors_have_their_known_lab(color: tuple[int, int, int]) -> None:
    np.testing.assert_allclose(to_lab(np.asarray(color, np.uint8)), KNOWN_LAB[color], atol=0.05)


@pytest.mark.parametrize(("skin", "tone"), SKINS.items())
def test_bare_skin_has_the_angle_of_its_color(skin: tuple[int, int, int], tone: str) -> None:
    assert angle(bare(skin)) == pytest.approx(expected(skin), abs=1.0)
    assert skin_tone(angle(bare(skin))) == tone


@given(
    skin=st.sampled_from(list(SKINS)),
    darkness=st.floats(0.0, 1.0),
    share=st.floats(0.01, 0.5),
    ratio=st.floats(0.8, 1.25),
    center=st.tuples(st.floats(0.42, 0.58), st.floats(0.42, 0.58)),
)
@settings(max_examples=150)
def test_a_lesion_of_any_darkness_moves_the_angle_little(
    skin: tuple[int, int, int], darkness: float, share: float, ratio: float, center: tuple[float, float]
) -> None:
    image = bare(skin)
    lesion = ellipse(SIZE, *center, ratio, share)
    image[lesion] *= 1 - darkness * np.asarray((0.6, 0.8, 0.85))

    assert angle(image) == pytest.approx(angle(bare(skin)), abs=4.0)


@pytest.mark.parametrize("skin", SKINS)
def test_a_lesion_that_reaches_an_edge_is_left_out(skin: tuple[int, int, int]) -> None:
    image = bare(skin)
    image[ellipse(SIZE, 0.5, 0.2, 1.0, 0.4)] *= (0.35, 0.2, 0.15)

    assert angle(image) == pytest.approx(expected(skin), abs=4.0)


@pytest.mark.parametrize("skin", SKINS)
def test_a_lesion_over_most_of_the_image_is_left_out(skin: tuple[int, int, int]) -> None:
    image = bare(skin)
    image[:, : SIZE * 6 // 10] *= (0.35, 0.2, 0.15)

    assert angle(image) == pytest.approx(expected(skin), abs=4.0)


@pytest.mark.parametrize("skin", SKINS)
def test_a_lesion_paler_than_the_skin_is_left_out(skin: tuple[int, int, int]) -> None:
    image = bare(skin)
    image[ellipse(SIZE, 0.5, 0.5, 1.0, 0.45)] = (252, 246, 244)

    assert angle(image) == pytest.approx(expected(skin), abs=1.0)


def test_shaded_skin_counts_as_a_whole() -> None:
    skin = (224, 180, 150)
    shaded = bare(skin) * np.linspace(0.93, 1.07, SIZE)[:, np.newaxis]

    assert angle(shaded) == pytest.approx(expected(skin), abs=1.0)


@pytest.mark.parametrize("skin", SKINS)
def test_a_vignette_is_left_out(skin: tuple[int, int, int]) -> None:
    image = bare(skin)
    image[~ellipse(SIZE, 0.5, 0.5, 1.0, 0.66)] = 4

    assert angle(image) == pytest.approx(expected(skin), abs=2.0)


@pytest.mark.parametrize("skin", SKINS)
def test_hair_ink_and_glare_are_left_out(skin: tuple[int, int, int]) -> None:
    image = bare(skin)
    image[5:60:6] = (25, 20, 18)
    image[:, :4] = VIOLET_INK
    image[40:56, 48:60] = 250

    assert angle(image) == pytest.approx(expected(skin), abs=3.0)


@pytest.mark.parametrize("size", (28, 224))
def test_the_size_of_the_image_does_not_matter(size: int) -> None:
    skin = (224, 180, 150)
    image = bare(skin, size)
    image[ellipse(size, 0.5, 0.5, 1.0, 0.3)] *= (0.5, 0.3, 0.2)

    assert angle(image) == pytest.approx(expected(skin), abs=1.5)


@pytest.mark.parametrize("shape", [(48, 96), (96, 48)])
def test_a_rectangle_has_the_angle_of_its_skin(shape: tuple[int, int]) -> None:
    skin = (224, 180, 150)
    height, width = shape
    image = bare(skin, max(shape))[:height, :width]
    # The lesion fills the middle of the picture, whatever the picture's shape.
    image[height // 4 : -height // 4, width // 4 : -width // 4] *= (0.5, 0.3, 0.2)

    assert angle(image) == pytest.approx(expected(skin), abs=1.5)


def test_pale_skin_under_bluish_light_is_not_dark() -> None:
    image = bare((205, 195, 210))

    assert to_lab(np.asarray((205, 195, 210), np.uint8))[2] < 0
    assert skin_tone(angle(image)) == "very_light"


@pytest.mark.parametrize("color", [(0, 0, 0), (12, 10, 9), (95, 85, 160)])
def test_where_no_skin_is_seen_the_tone_is_unknown(color: tuple[int, int, int]) -> None:
    found = typology_angles(np.full((1, 32, 32, 3), color, np.uint8))

    assert np.isnan(found).all()
    assert skin_tone(float(found[0])) == "unknown"


def test_a_scrap_of_skin_in_the_dark_is_no_sample() -> None:
    image = np.zeros((SIZE, SIZE, 3))
    image[:10, :10] = (224, 180, 150)

    assert math.isnan(angle(image))


def test_the_task_finds_the_feature_by_its_name() -> None:
    pixels: Pixels = np.clip([bare(skin) for skin in SKINS], 0, 255).astype(np.uint8)

    assert derived_features(["skin_tone"], pixels) == {"skin_tone": list(SKINS.values())}
    assert {feature.name for feature in TASK.derived} <= set(SLICES.names)


def test_images_do_not_affect_one_another() -> None:
    pixels: Pixels = np.clip([bare(skin, seed=index) for index, skin in enumerate(SKINS)], 0, 255).astype(np.uint8)
    together = typology_angles(pixels)

    assert together.dtype == np.float32
    assert together.shape == (len(SKINS),)
    np.testing.assert_array_equal(together, [typology_angles(image[np.newaxis])[0] for image in pixels])
    assert typology_angles(pixels[:0]).shape == (0,)


@pytest.mark.parametrize(
    ("degrees", "tone"),
    [
        *((120.0, "very_light"), (55.1, "very_light"), (55.0, "light"), (41.0, "intermediate"), (28.0, "tan")),
        *((10.0, "brown"), (-29.9, "brown"), (-30.0, "dark"), (-80.0, "dark"), (math.nan, "unknown")),
    ],
)
def test_groups_have_the_published_bounds(degrees: float, tone: str) -> None:
    assert skin_tone(degrees) == tone


def test_the_groups_are_listed_from_light_to_dark() -> None:
    found = dict.fromkeys(skin_tone(degrees) for degrees in range(90, -90, -1))

    assert tuple(found) == SKIN_TONES
