"""Properties that all natural corruptions share, and some of their own."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dermrobust.attacks.threat import Pixels
from dermrobust.components.corruptions.natural import SEVERITIES, corrupt
from dermrobust.components.corruptions.registry import CORRUPTIONS
from tests.datasets import draw

MARKS = ("marker", "bubble")
SIZES = (28, 64, 97, 224)
NAMES = st.sampled_from(CORRUPTIONS.names)
SEVERITY = st.sampled_from(SEVERITIES)


def photographs(size: int, count: int = 3) -> Pixels:
    """Smooth pictures, as photographs are."""
    return np.stack([draw(seed, size, size) for seed in range(count)])


def ids(count: int) -> list[str]:
    return [f"ISIC_{index}" for index in range(count)]


def distances(name: str, pixels: Pixels) -> list[float]:
    """Mean distance from the original at each severity."""
    corrupted = (corrupt(name, severity, pixels, ids(len(pixels))) for severity in SEVERITIES)
    return [float(np.abs(values.astype(int) - pixels).mean()) for values in corrupted]


@given(
    name=NAMES,
    severity=SEVERITY,
    pixels=st.sampled_from(((8, 8), (9, 28), (28, 9), (28, 28))).flatmap(lambda size: arrays(np.uint8, (2, *size, 3))),
)
@settings(max_examples=60)
def test_any_image_gives_an_image_of_its_size_and_the_same_one_alone_or_in_a_batch(
    name: str, severity: int, pixels: Pixels
) -> None:
    before = pixels.copy()
    together = corrupt(name, severity, pixels, ["first", "second"])

    assert together.shape == pixels.shape
    assert together.dtype == np.uint8
    np.testing.assert_array_equal(together, corrupt(name, severity, pixels, ["first", "second"]))
    np.testing.assert_array_equal(together[1:], corrupt(name, severity, pixels[1:], ["second"]))
    np.testing.assert_array_equal(pixels, before)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", CORRUPTIONS.names)
def test_a_higher_severity_lies_farther_from_the_original(name: str, size: int) -> None:
    found = distances(name, photographs(size))

    assert found[0] > 0
    assert found == sorted(found)
    assert found[-1] > 2 * found[0]


@pytest.mark.parametrize("name", [name for name in CORRUPTIONS.names if name not in ("jpeg", "defocus_blur")])
def test_a_severity_means_the_same_at_any_size(name: str) -> None:
    # Enlarged by repeated pixels, whose edges the two others would see.
    small, large = (np.stack([draw(seed, 32, 32) for seed in (0, 1)]).repeat(n, 1).repeat(n, 2) for n in (2, 6))

    np.testing.assert_allclose(distances(name, small), distances(name, large), rtol=0.25)


@pytest.mark.parametrize("name", MARKS)
@given(seed=st.integers(0, 10_000))
@settings(max_examples=25)
def test_marks_stay_where_they_are_when_the_severity_grows(name: str, seed: int) -> None:
    pixels = np.full((1, 64, 64, 3), 190, np.uint8)
    marked = [(corrupt(name, severity, pixels, [str(seed)]) != pixels).any(axis=-1) for severity in SEVERITIES]

    for fewer, more in itertools.pairwise(marked):
        assert not (fewer & ~more).any()
    assert 0.01 < marked[-1].mean() < 0.7


@pytest.mark.parametrize("name", (*MARKS, "gaussian_noise"))
def test_what_is_random_differs_between_images(name: str) -> None:
    pixels = np.full((2, 64, 64, 3), 190, np.uint8)
    first, second = corrupt(name, 3, pixels, ["first", "second"])

    assert (first != second).any()


def test_noise_has_the_same_strength_in_every_channel_and_no_drift() -> None:
    pixels = np.full((4, 64, 64, 3), 128, np.uint8)
    noise = corrupt("gaussian_noise", 3, pixels, ids(4)).astype(float) - 128

    np.testing.assert_allclose(noise.mean(axis=(0, 1, 2)), 0.0, atol=0.5)
    np.testing.assert_allclose(noise.std(axis=(0, 1, 2)), 17.0, rtol=0.03)


def test_defocus_spreads_a_point_into_an_even_disc() -> None:
    pixels = np.zeros((1, 65, 65, 3), np.uint8)
    pixels[0, 32, 32] = 255
    spread = corrupt("defocus_blur", 5, pixels, ["x"])[0, :, :, 0]
    y, x = np.nonzero(spread)
    radius = np.hypot(y - 32, x - 32)

    assert radius.max() < 0.064 * 65 + 1
    inner = spread[y[radius < 3], x[radius < 3]]
    assert inner.min() == inner.max() == round(255 / (np.pi * (0.064 * 65) ** 2))


def test_defocus_keeps_an_even_image_as_it_is_up_to_its_edges() -> None:
    pixels = np.full((1, 28, 28, 3), 77, np.uint8)

    np.testing.assert_array_equal(corrupt("defocus_blur", 5, pixels, ["x"]), pixels)


def test_brightness_goes_the_way_of_its_name_and_leaves_black() -> None:
    pixels = photographs(32)

    assert (corrupt("brightness_up", 1, pixels, ids(3)) >= pixels).all()
    assert (corrupt("brightness_down", 1, pixels, ids(3)) <= pixels).all()
    assert corrupt("brightness_up", 5, np.zeros_like(pixels), ids(3)).max() == 0


@pytest.mark.parametrize("name", ("brightness_up", "gaussian_noise", "bubble"))
def test_what_becomes_too_bright_stays_white(name: str) -> None:
    pixels = np.full((1, 64, 64, 3), 254, np.uint8)

    assert corrupt(name, 2, pixels, ["x"]).min() > 190


def test_ink_is_darker_than_skin_and_bubbles_are_lighter() -> None:
    pixels = np.full((1, 64, 64, 3), 190, np.uint8)

    assert (corrupt("marker", 5, pixels, ["x"]) <= pixels).all()
    assert (corrupt("bubble", 5, pixels, ["x"]) >= pixels).all()


@pytest.mark.parametrize("name", MARKS)
def test_marks_cover_the_same_share_of_a_rectangle_lying_or_standing(name: str) -> None:
    lying = np.full((8, 48, 64, 3), 190, np.uint8)
    standing = lying.transpose(0, 2, 1, 3)
    changed = [(corrupt(name, 5, pixels, ids(8)) != pixels).any(axis=-1).mean() for pixels in (lying, standing)]

    assert min(changed) > 0.01
    assert max(changed) < 1.2 * min(changed)


def test_defocus_spreads_a_point_of_a_rectangle_into_the_disc_of_its_shorter_side() -> None:
    pixels = np.zeros((1, 65, 101, 3), np.uint8)
    pixels[0, 32, 50] = 255
    square = pixels[:, :, 18:83]

    spread = corrupt("defocus_blur", 5, pixels, ["x"])

    np.testing.assert_array_equal(spread[:, :, 18:83], corrupt("defocus_blur", 5, square, ["x"]))
    assert not spread[:, :, :18].any()


def test_no_image_is_no_work() -> None:
    empty = np.empty((0, 16, 16, 3), np.uint8)

    assert corrupt("jpeg", 1, empty, []).shape == empty.shape


@pytest.mark.parametrize("severity", (0, 6))
def test_an_unknown_severity_is_named(severity: int) -> None:
    with pytest.raises(ValueError, match=f"no severity {severity} of a corruption, only 1 to 5"):
        corrupt("jpeg", severity, photographs(16), ids(3))


def test_an_unknown_corruption_is_answered_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"no corruption 'snow'; there are: brightness_up, .*bubble"):
        corrupt("snow", 1, photographs(16), ids(3))


@pytest.mark.parametrize(
    ("pixels", "count", "message"),
    [
        (np.zeros((2, 8, 8, 3), np.float32), 2, r"found float32 \[2, 8, 8, 3\]"),
        (np.zeros((2, 8, 8, 1), np.uint8), 2, r"found uint8 \[2, 8, 8, 1\]"),
        (np.zeros((2, 8, 8, 3), np.uint8), 3, "2 images, 3 ids"),
    ],
)
def test_what_is_no_batch_of_images_is_refused(pixels: Pixels, count: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        corrupt("jpeg", 1, pixels, ids(count))
