"""Threat models: whatever an attack returns, what is stored lies inside the budget."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from attacks.errors import AttackError
from attacks.threat import Images, Pixels, ThreatModel

SHAPE = (2, 3, 3, 3)
epsilons = st.one_of(st.sampled_from([1.0, 2.0, 4.0, 8.0, 255.0]), st.floats(0.01, 255.0))
clean_images = hnp.arrays(np.uint8, SHAPE)
directions = hnp.arrays(np.float64, SHAPE, elements=st.floats(-1.0, 1.0))


def moved(clean: Pixels, direction: Any, epsilon: float) -> Images:
    """A float image inside the budget and [0, 1], as attacks return it."""
    return np.clip(clean / 255 + direction * epsilon / 255, 0, 1).astype(np.float32)


@given(clean_images, directions, epsilons)
def test_a_stored_image_is_within_its_budget(clean: Pixels, direction: Any, epsilon: float) -> None:
    threat = ThreatModel(epsilon)

    stored = threat.to_pixels(moved(clean, direction, epsilon), clean)

    assert stored.dtype == np.uint8
    distance = np.abs(stored.astype(int) - clean.astype(int)).max()
    assert distance <= epsilon
    assert threat.contains(stored, clean).all()


@given(clean_images, directions, epsilons)
def test_storing_moves_a_value_by_less_than_a_level(clean: Pixels, direction: Any, epsilon: float) -> None:
    adversarial = moved(clean, direction, epsilon)

    stored = ThreatModel(epsilon).to_pixels(adversarial, clean)

    assert np.abs(stored - adversarial.astype(np.float64) * 255).max() < 1 + 1e-4


@given(clean_images, st.integers(1, 255), st.sampled_from([-1.0, 1.0]))
def test_a_whole_budget_is_used_in_full(clean: Pixels, epsilon: int, sign: float) -> None:
    adversarial = moved(clean, np.full(SHAPE, sign), epsilon)

    stored = ThreatModel(epsilon).to_pixels(adversarial, clean)

    np.testing.assert_array_equal(stored, np.clip(clean.astype(int) + int(sign) * epsilon, 0, 255))


@given(clean_images, epsilons)
def test_a_clean_image_is_stored_unchanged(clean: Pixels, epsilon: float) -> None:
    np.testing.assert_array_equal(ThreatModel(epsilon).to_pixels(moved(clean, np.zeros(SHAPE), epsilon), clean), clean)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_an_image_that_is_not_finite_is_an_error(bad: float) -> None:
    clean = np.full(SHAPE, 128, np.uint8)
    adversarial = (clean / 255).astype(np.float32)
    adversarial[1, 2, 0, 1] = bad

    with pytest.raises(AttackError, match="not finite"):
        ThreatModel(4).to_pixels(adversarial, clean)


@given(st.floats(0.5, 100.0), st.floats(0.01, 20.0), st.sampled_from([-1.0, 1.0]))
def test_leaving_the_budget_at_one_value_is_an_error(epsilon: float, excess: float, sign: float) -> None:
    clean = np.full(SHAPE, 128, np.uint8)
    adversarial = (clean / 255).astype(np.float32)
    adversarial[0, 0, 2, 2] += np.float32(sign * (epsilon + excess) / 255)

    with pytest.raises(AttackError, match="left the budget"):
        ThreatModel(epsilon).to_pixels(adversarial, clean)


@pytest.mark.parametrize(("level", "step"), [(0, -1.0), (255, 1.0)])
def test_leaving_the_range_of_images_is_an_error_even_inside_the_budget(level: int, step: float) -> None:
    clean = np.full(SHAPE, level, np.uint8)
    adversarial = ((clean + step) / 255).astype(np.float32)

    with pytest.raises(AttackError, match=r"range \[0, 1\]"):
        ThreatModel(4).to_pixels(adversarial, clean)


@given(clean_images, st.integers(0, 1), st.integers(1, 254))
def test_an_image_outside_the_budget_is_told_apart(clean: Pixels, index: int, epsilon: int) -> None:
    adversarial = clean.copy()
    value = int(clean[index, 0, 0, 0])
    reach = epsilon + 1
    adversarial[index, 0, 0, 0] = value + reach if value + reach <= 255 else max(value - reach, 0)
    outside = abs(int(adversarial[index, 0, 0, 0]) - value) > epsilon

    contained = ThreatModel(epsilon).contains(adversarial, clean)

    assert contained[index] == (not outside)
    assert contained[1 - index]


def test_no_images_are_inside_every_budget() -> None:
    none = np.empty((0, 3, 3, 3), np.uint8)

    assert ThreatModel(4).contains(none, none).shape == (0,)
    assert ThreatModel(4).to_pixels(none.astype(np.float32), none).shape == none.shape


@pytest.mark.parametrize("epsilon", [0.0, -1.0, 255.001, math.inf, math.nan])
def test_a_budget_that_no_attack_could_use_is_refused(epsilon: float) -> None:
    with pytest.raises(ValueError, match=r"must be in \(0, 255\]"):
        ThreatModel(epsilon)


@pytest.mark.parametrize("epsilon", [0.5, 1, 4, 255])
def test_the_radius_is_the_budget_on_images_in_0_to_1(epsilon: float) -> None:
    assert ThreatModel(epsilon).radius == pytest.approx(epsilon / 255)
