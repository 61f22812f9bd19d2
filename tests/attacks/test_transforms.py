"""Threat models beyond a norm: their images, their bounds, and the searches under them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from dermrobust.attacks.engine import to_images
from dermrobust.attacks.errors import AttackError, UserError
from dermrobust.attacks.target import Target
from dermrobust.attacks.threat import Pixels
from dermrobust.attacks.transforms.control import GridSearch, RandomSearch
from dermrobust.attacks.transforms.drawing import drawn
from dermrobust.attacks.transforms.engine import Transformed, search_seeds, transform_pixels
from dermrobust.attacks.transforms.patch import place_of
from dermrobust.attacks.transforms.problem import Best, TransformProblem
from dermrobust.attacks.transforms.rendering import distances, render, within_bounds, without_content
from dermrobust.attacks.transforms.search import Search
from dermrobust.attacks.transforms.selection import default_searches, read_search
from dermrobust.attacks.transforms.threat import TransformThreat, is_transform
from dermrobust.attacks.transforms.transform import Values
from tests.attacks.conftest import Victim

FAMILIES = ("colour", "geometry", "colour+geometry", "geometry+colour", "patch")
SMOOTH = tuple(family for family in FAMILIES if family != "patch")
ADAPTIVE = read_search({"search": "adaptive", "screened": 16, "restarts": 2, "steps": 6})
SIZE = (7, 5)

strengths = st.floats(0.001, 0.999)
seeds = st.integers(0, 2**32 - 1)


def photographs(seed: int, count: int = 2, size: tuple[int, int] = SIZE) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (count, *size, 3)).astype(np.uint8)


def values_of(threat: TransformThreat, **named: float) -> Values:
    """The values of one image, 0 for parameters that are not named."""
    names = [parameter.name for parameter in threat.transform.parameters]
    assert set(named) <= set(names)
    return np.asarray([[named.get(name, 0.0) for name in names]], np.float32)


def rendered(text: str, pixels: Pixels, **named: float) -> Pixels:
    """Images with the same parameters, which are given by name."""
    threat = TransformThreat.parse(text)
    values = np.repeat(values_of(threat, **named), len(pixels), axis=0)
    return render(threat, pixels, values, without_content(len(pixels), threat.transform, pixels.shape[1:]))


def found(victim: Victim, search: Search, text: str, **options: Any) -> Transformed:
    threat = TransformThreat.parse(text)
    ids = [f"image{index}" for index in range(len(victim.pixels))]
    keys = search_seeds(ids, search=search.name, threat=threat, seed=0)
    return transform_pixels(search, victim.target, victim.pixels, victim.labels, keys, threat=threat, **options)


def robust(victim: Victim, search: Search, text: str) -> float:
    return float(victim.robust(found(victim, search, text, batch_size=32).pixels).mean())


@pytest.mark.parametrize("text", ["colour:1", "geometry:0.5", "colour+geometry:0.25", "patch:0.05"])
def test_a_threat_model_is_read_from_its_text(text: str) -> None:
    assert str(TransformThreat.parse(f" {text} ")) == text
    assert is_transform(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour", "write a transformation and a strength"),
        ("colour:much", "write a transformation and a strength"),
        ("blur:1", "there is no transformation 'blur'; there are: colour, geometry, patch"),
        ("colour:0", "the strength must be 0.0001 to 1"),
        ("geometry:1.1", "the strength must be 0.0001 to 1"),
        ("patch:1", "the share of the image must be 0.0001 or more and below 1"),
        ("colour+colour:1", "names a transformation twice"),
        ("colour+patch:0.1", "patch cannot be combined"),
    ],
)
def test_what_is_no_threat_model_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TransformThreat.parse(text)
    assert not is_transform("linf:4/255")


@pytest.mark.parametrize("family", SMOOTH)
@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_parameters_of_0_change_no_pixel(family: str, seed: int) -> None:
    pixels = photographs(seed)
    np.testing.assert_array_equal(rendered(f"{family}:1", pixels), pixels)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "patch"])
@given(first=strengths, second=strengths, seed=seeds)
@settings(max_examples=20, deadline=None)
def test_a_larger_strength_reaches_all_that_a_smaller_one_does(
    family: str, first: float, second: float, seed: int
) -> None:
    small, large = (TransformThreat(family, strength) for strength in sorted((first, second)))
    values, content = drawn(small, np.asarray([seed, seed + 1], np.uint64), np.asarray([0, 3]), (*SIZE, 3))
    assert within_bounds(small, values).all()
    assert within_bounds(large, values).all()
    pixels = photographs(seed)
    np.testing.assert_array_equal(render(small, pixels, values, content), render(large, pixels, values, content))
    outside = values + np.float32(1.01) * small.transform.bounds(small.strength)
    with pytest.raises(AttackError, match="left the parameters"):
        render(small, pixels, np.abs(outside), content)


@pytest.mark.parametrize("family", SMOOTH)
def test_gradients_agree_with_finite_differences(family: str) -> None:
    random = np.random.default_rng(5)
    transform, strength = TransformThreat(family, 0.5).transform, tf.constant(0.5, tf.float64)
    # Away from black and white, where clipping has no gradient on one side.
    images, weights = random.uniform(0.3, 0.6, (1, 9, 8, 3)), random.normal(size=(1, 9, 8, 3))
    values = random.uniform(-0.3, 0.3, (1, len(transform.parameters))) * transform.bounds(0.5)

    def loss(at: Any) -> Any:
        moved = transform.apply(tf.constant(images), at, tf.zeros((1, 0), tf.float64), strength)
        return tf.reduce_sum(moved * weights)

    point = tf.constant(values)
    with tf.GradientTape() as tape:
        tape.watch(point)
        height = loss(point)
    gradient = tape.gradient(height, point).numpy()[0]
    for index, slope in enumerate(gradient):
        step = np.zeros_like(values)
        step[0, index] = 1e-6
        difference = (loss(tf.constant(values + step)) - loss(tf.constant(values - step))) / 2e-6
        assert slope == pytest.approx(float(difference), rel=1e-4, abs=1e-5)


def test_light_and_colour_do_what_their_names_say() -> None:
    pixels = np.full((1, 2, 2, 3), (100, 60, 40), np.uint8)
    assert rendered("colour:1", pixels, gain=0.3)[0, 0, 0].tolist() == [130, 78, 52]
    assert rendered("colour:1", pixels, red=-0.15, blue=0.1)[0, 0, 0].tolist() == [85, 60, 44]
    gray = np.full((1, 2, 2, 3), 100, np.uint8)
    assert rendered("colour:1", gray, hue=18, saturation=0.3)[0, 0, 0].tolist() == [100, 100, 100]
    paler = rendered("colour:1", pixels, saturation=-0.3)[0, 0, 0].astype(int)
    assert np.ptp(paler) == round(0.7 * 60)
    darker = rendered("colour:1", pixels, gamma=0.3)[0, 0, 0]
    np.testing.assert_allclose(darker, 255 * (pixels[0, 0, 0] / 255) ** 2**0.3, atol=0.51)
    turned = [rendered("colour:1", pixels, hue=angle)[0, 0, 0].astype(int) for angle in (-18, 18)]
    # Towards yellow more green, towards magenta less; the luma stays.
    assert (turned[0][1] > 60) != (turned[1][1] > 60)
    for color in turned:
        assert color @ [0.299, 0.587, 0.114] == pytest.approx(69.68, abs=1)


def test_a_quarter_turn_and_a_shift_are_exact() -> None:
    square = photographs(1, size=(6, 6))
    np.testing.assert_array_equal(rendered("geometry:1", square, rotation=90), np.rot90(square, axes=(1, 2)))
    tall = photographs(2, size=(20, 10))
    padded = np.pad(tall, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="symmetric")
    moved = rendered("geometry:1", tall, down=0.1, right=-0.1)
    np.testing.assert_array_equal(moved, padded[:, :20, 3:13])


@given(seed=seeds, level=st.integers(0, 255))
@settings(max_examples=20, deadline=None)
def test_no_black_corner_appears(seed: int, level: int) -> None:
    threat = TransformThreat("geometry", 0.999)
    values, content = drawn(threat, np.asarray([seed], np.uint64), np.asarray([0]), (*SIZE, 3))
    plain = np.full((1, *SIZE, 3), level, np.uint8)
    np.testing.assert_array_equal(render(threat, plain, values, content), plain)


@given(seed=seeds, share=st.floats(0.03, 0.9))
@settings(max_examples=20, deadline=None)
def test_a_patch_covers_no_more_than_its_share(seed: int, share: float) -> None:
    threat = TransformThreat("patch", share)
    pixels = np.zeros((1, *SIZE, 3), np.uint8)
    values, _ = drawn(threat, np.asarray([seed], np.uint64), np.asarray([0]), (*SIZE, 3))
    changed = render(threat, pixels, values, np.ones((1, *SIZE, 3), np.float32))[0].any(axis=2)
    top, left, side = place_of(values[0], *SIZE, share)
    assert changed.sum() == side**2 == changed[top : top + side, left : left + side].sum()
    assert 1 <= side**2 <= share * SIZE[0] * SIZE[1] + 1e-3


@pytest.mark.parametrize("text", ["colour:0.2", "geometry:1", "colour+geometry:0.2", "patch:0.1"])
def test_a_search_stays_inside_its_threat_and_beats_its_controls(victim: Victim, text: str) -> None:
    threat = TransformThreat.parse(text)
    made = found(victim, ADAPTIVE, text, batch_size=32)
    assert distances(threat, made.pixels, victim.pixels, made.values).max() == 0
    accuracy = float(victim.robust(made.pixels).mean())
    random = robust(victim, RandomSearch(draws=20), text)
    # With slack: the grid tries all 64 corners of colour, this short adaptive search few of them.
    assert accuracy <= min(random, robust(victim, GridSearch(points=3), text) + 0.04)
    if text != "geometry:1":  # the mean colour, which these images are told apart by, hardly changes
        assert accuracy < random - 0.05
    # Each image depends on its own seed alone.
    again = found(victim.take(slice(0, 30)), ADAPTIVE, text, batch_size=7)
    np.testing.assert_array_equal(again.pixels, made.pixels[:30])
    np.testing.assert_array_equal(again.values, made.values[:30])


@pytest.mark.parametrize("text", ["colour:1", "patch:0.3"])
def test_an_image_that_is_wrong_anyway_stays_as_it_is(victim: Victim, text: str) -> None:
    wrong = dataclasses.replace(victim, labels=(victim.labels + 1) % 7)
    made = found(wrong, ADAPTIVE, text)
    np.testing.assert_array_equal(made.pixels, victim.pixels)
    assert not made.values.any()


def test_without_a_stop_the_worst_image_is_returned(victim: Victim) -> None:
    few = victim.take(slice(12))
    margins = []
    for stop in (True, False):
        made = found(few, ADAPTIVE, "colour:1", stop_at_success=stop)
        logits = few.logits(to_images(made.pixels))
        truth = np.eye(7, dtype=bool)[few.labels]
        margins.append(logits[truth] - np.where(truth, -np.inf, logits).max(axis=1))
    assert (margins[1] <= margins[0] + 1e-3).all()
    assert margins[1].mean() < margins[0].mean() - 0.5


@pytest.mark.parametrize("text", ["colour:0.4", "geometry:0.5", "patch:0.1"])
def test_a_tampered_image_is_outside_of_its_threat(victim: Victim, text: str) -> None:
    few, threat = victim.take(slice(4)), TransformThreat.parse(text)
    values, content = drawn(threat, few.seeds, np.arange(4), (8, 8, 3))
    made = Transformed(render(threat, few.pixels, values, content), values)
    forged = made.pixels.copy()
    top, left, side = place_of(made.values[1], 8, 8, 0.1) if text.startswith("patch") else (0, 0, 0)
    row = (top + side) % 8
    forged[1, row, left, 2] ^= 1
    values = made.values.copy()
    values[2, 0], values[3, 0] = np.nan, 2 * threat.transform.bounds(threat.strength)[0]
    apart = distances(threat, forged, few.pixels, values)
    assert apart.tolist() == [0, 1, np.inf, np.inf]
    if text.startswith("patch"):  # what the sticker shows is the attacker's choice
        shown = made.pixels.copy()
        shown[1, top, left] = 255 - shown[1, top, left]
        assert not distances(threat, shown, few.pixels, made.values).any()
    else:
        other = np.roll(made.values, 1, axis=0)
        assert (distances(threat, made.pixels, few.pixels, other) > 0).all()


def test_inputs_that_cannot_be_searched_are_refused(victim: Victim) -> None:
    few = victim.take(slice(2))
    with pytest.raises(UserError, match=r"patch:0.001 is less than one pixel of an image of 8 x 8"):
        found(few, ADAPTIVE, "patch:0.001")
    with pytest.raises(UserError, match="must be uint8"):
        found(dataclasses.replace(few, pixels=cast("Pixels", few.images)), ADAPTIVE, "colour:1")
    with pytest.raises(UserError, match="each image needs one label and one seed"):
        found(dataclasses.replace(few, labels=few.labels[:1]), ADAPTIVE, "colour:1")
    with pytest.raises(UserError, match="labels must be 0 to 6"):
        found(dataclasses.replace(few, labels=few.labels + 7), ADAPTIVE, "colour:1")
    softmax = Target(lambda weights, images: tf.nn.softmax(few.target.logits(weights, images)), few.target.weights)
    with pytest.raises(UserError, match="probabilities, not logits"):
        found(dataclasses.replace(few, target=softmax), ADAPTIVE, "colour:1")


def test_logits_that_break_down_are_no_robustness(victim: Victim) -> None:
    def breaking(weights: Any, images: Any) -> Any:
        bright = tf.reduce_mean(images, axis=[1, 2, 3])[:, None]
        return tf.where(bright > 0.55, np.nan, victim.target.logits(weights, images))

    few = victim.take(np.flatnonzero(victim.images.mean(axis=(1, 2, 3)) < 0.5)[:4])
    with pytest.raises(AttackError, match="NaN or infinite under attack"):
        found(dataclasses.replace(few, target=Target(breaking, few.target.weights)), ADAPTIVE, "colour:1")


@pytest.mark.parametrize("search", [RandomSearch(draws=5), GridSearch(points=2), ADAPTIVE], ids=lambda one: one.name)
def test_an_approximation_that_errs_breaks_no_fewer_images(victim: Victim, search: Search) -> None:
    def wrong(weights: Any, images: Any) -> Any:
        return -victim.target.logits(weights, images)

    approximate = dataclasses.replace(victim.target, logits=wrong, exact=victim.target)
    made = found(dataclasses.replace(victim.take(slice(24)), target=approximate), search, "colour:0.2")

    np.testing.assert_array_equal(made.pixels, found(victim.take(slice(24)), search, "colour:0.2").pixels)


class Greedy(RandomSearch):
    """Needs more memory than there is for batches of more than so many images."""

    most: int

    def improve(self, problem: TransformProblem, best: Best) -> None:
        if problem.batch_size > self.most:
            raise tf.errors.ResourceExhaustedError(None, None, "out of memory")
        super().improve(problem, best)


def test_batches_shrink_to_the_memory_of_the_device(victim: Victim) -> None:
    few = victim.take(slice(12))
    expected = found(few, RandomSearch(draws=2), "colour:0.3", batch_size=4)
    made = found(few, Greedy(draws=2, most=3), "colour:0.3", batch_size=32)
    np.testing.assert_array_equal(made.pixels, expected.pixels)
    with pytest.raises(AttackError, match="too small for one image"):
        found(few, Greedy(draws=2, most=0), "colour:0.3")


def test_searches_are_selected_by_name() -> None:
    assert list(default_searches()) == ["adaptive", "random", "grid"]
    with pytest.raises(ValueError, match=r"there is no search 'pgd'; there are: adaptive, random, grid"):
        read_search("pgd")


def test_the_documentation_states_the_reach_of_every_parameter() -> None:
    page = (Path(__file__).parents[2] / "docs" / "threat_models.md").read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| `")]
    stated = {name.strip("| `"): row[1] for row in rows for name in row[0].split(",")}
    for family in ("colour", "geometry"):
        for parameter in TransformThreat(family, 1).transform.parameters:
            assert stated[parameter.name] == f"{parameter.reach:g}"
