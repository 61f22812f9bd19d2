"""Threat models: stored images lie inside the budget, whatever an attack returns."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import TypeAdapter, ValidationError

from dermrobust.attacks.errors import AttackError
from dermrobust.attacks.threat import Bounds, Images, Norm, Pixels, Threat, ThreatModel

SHAPE = (2, 3, 3, 3)
config = TypeAdapter(Threat)

linf = st.builds(ThreatModel, st.one_of(st.sampled_from([1.0, 2.0, 4.0, 8.0, 255.0]), st.floats(0.01, 255.0)))
l2 = st.builds(ThreatModel, st.one_of(st.sampled_from([1.0, 5.0, 127.5]), st.floats(0.01, 2000.0)), st.just(Norm.L2))
l1 = st.builds(ThreatModel, st.one_of(st.sampled_from([1.0, 30.0]), st.floats(0.01, 7000.0)), st.just(Norm.L1))
l0 = st.builds(ThreatModel, st.integers(1, 9).map(float), st.just(Norm.L0))
unit_threats = st.one_of(linf, l2, l1, l0)
bounds = st.sampled_from([Bounds(), Bounds(-1.0, 1.0), Bounds(0.0, 255.0), Bounds(-2.5, 3.0)])
threats = st.builds(lambda threat, found: ThreatModel(threat.epsilon, threat.norm, found), unit_threats, bounds)
clean_images = hnp.arrays(np.uint8, SHAPE)
directions = hnp.arrays(np.float64, SHAPE, elements=st.floats(-1.0, 1.0))


def moved(clean: Pixels, direction: Any, threat: ThreatModel) -> Images:
    """A float image inside the budget and the bounds, as attacks return it; its budget is used in full."""
    images = threat.bounds.to_images(clean)
    if threat.norm is Norm.L0:
        # Any change of the pixels with the largest first channels.
        rank = np.argsort(np.argsort(-direction[..., 0].reshape(len(direction), -1))).reshape(direction.shape[:3])
        far = np.where(direction > 0, threat.bounds.upper, threat.bounds.lower).astype(np.float32)
        return np.where((rank < threat.epsilon)[..., None], far, images)
    flat = direction.reshape(len(direction), -1)
    length = np.linalg.norm(flat, threat.norm.order, axis=1)[:, None]
    step = (flat / np.where(length > 0, length, 1) * threat.radius).reshape(SHAPE)
    return np.clip(images + step.astype(np.float32), threat.bounds.lower, threat.bounds.upper)


def exact_length(stored: Pixels, clean: Pixels, norm: Norm) -> list[int]:
    """The norm, for L2 its square: whole numbers, without rounding."""
    shift = stored.astype(np.int64) - clean.astype(np.int64)
    measure = {
        Norm.LINF: lambda change: np.abs(change).max(),
        Norm.L2: lambda change: np.square(change).sum(),
        Norm.L1: lambda change: np.abs(change).sum(),
        Norm.L0: lambda change: (change != 0).any(axis=-1).sum(),
    }[norm]
    return [int(measure(change)) for change in shift]


@pytest.mark.parametrize(
    ("value", "epsilon", "norm"),
    [
        ("linf:4/255", 4, Norm.LINF),
        ("linf: 4 / 255", 4, Norm.LINF),
        ("linf:0.0157", 0.0157 * 255, Norm.LINF),
        ("linf:1", 255, Norm.LINF),
        ("l2:0.5", 127.5, Norm.L2),
        ("l2:128/255", 128, Norm.L2),
        ("l2:3", 765, Norm.L2),
        ("l2:1e-1", 25.5, Norm.L2),
        ("l1:12", 3060, Norm.L1),
        ("l1:3060/255", 3060, Norm.L1),
        ("l0:24", 24, Norm.L0),
        (4, 4, Norm.LINF),
        (0.5, 0.5, Norm.LINF),
        (ThreatModel(3, Norm.L2), 3, Norm.L2),
    ],
)
def test_a_config_writes_a_norm_and_a_budget(value: Any, epsilon: float, norm: Norm) -> None:
    threat = config.validate_python(value)

    assert threat.norm is norm
    assert threat.epsilon == pytest.approx(epsilon, rel=1e-12)


def test_decimal_budgets_are_the_whole_levels_that_were_meant() -> None:
    for level in range(1, 256):
        assert ThreatModel.parse(f"linf:{level / 255:.14g}").epsilon == level
    assert ThreatModel.parse("l2:0.5").epsilon == 127.5


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("linf:0/255", "above 0"),
        ("linf:-4/255", "above 0"),
        ("linf:4", "linf:4/255"),
        ("linf:256/255", "255/255"),
        (256, "255/255"),
        (-1, "above 0"),
        (0, "above 0"),
        (math.nan, "above 0"),
        (math.inf, "above 0"),
        ("l2:1e999", "above 0"),
        ("linf:nan", "no threat model"),
        ("linf:e", "no threat model"),
        ("l3:4/255", "no threat model"),
        ("l0:24/255", "counts pixels, which have no unit; write 'l0:24'"),
        ("l0:2.5", "must be a whole number"),
        ("l0:0", "above 0"),
        ("linf", "no threat model"),
        ("4/255", "no threat model"),
        ("linf:4/256", "no threat model"),
        (True, "no threat model"),
        (None, "no threat model"),
        ([4], "no threat model"),
    ],
)
def test_what_is_no_budget_is_refused_and_the_message_says_what_to_write(value: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config.validate_python(value)


@given(st.sampled_from(list(Norm)), st.integers(1, 255_000))
def test_what_a_threat_model_is_printed_as_is_read_back(norm: Norm, thousandths: int) -> None:
    threat = ThreatModel(thousandths if norm is Norm.L0 else thousandths / 1000, norm)

    assert ThreatModel.parse(str(threat)) == threat
    assert config.validate_python(config.dump_python(threat)) == threat


@pytest.mark.parametrize("epsilon", [0.0, -1.0, 255.001, math.inf, math.nan])
def test_a_budget_that_no_attack_could_use_is_refused(epsilon: float) -> None:
    with pytest.raises(ValueError, match="epsilon is"):
        ThreatModel(epsilon)


@pytest.mark.parametrize(("lower", "upper"), [(1.0, 0.0), (0.0, 0.0), (math.nan, 1.0), (0.0, math.inf)])
def test_bounds_between_which_there_is_nothing_are_refused(lower: float, upper: float) -> None:
    with pytest.raises(ValueError, match="finite and in order"):
        Bounds(lower, upper)


@pytest.mark.parametrize("epsilon", [0.5, 1, 4, 255])
def test_the_radius_is_the_budget_on_the_scale_of_the_images(epsilon: float) -> None:
    assert ThreatModel(epsilon).radius == pytest.approx(epsilon / 255)
    assert ThreatModel(epsilon, bounds=Bounds(-1, 1)).radius == pytest.approx(2 * epsilon / 255)


@given(hnp.arrays(np.uint8, (1, 4, 4, 3)), bounds)
def test_stored_images_survive_the_way_to_floats_and_back(pixels: Pixels, found: Bounds) -> None:
    images = found.to_images(pixels)

    assert images.dtype == np.float32
    np.testing.assert_array_equal(np.rint(found.to_levels(images)), pixels)


@given(clean_images, directions, threats)
def test_a_stored_image_is_within_its_budget_to_the_last_bit(
    clean: Pixels, direction: Any, threat: ThreatModel
) -> None:
    stored = threat.to_pixels(moved(clean, direction, threat), clean)

    assert stored.dtype == np.uint8
    limit = threat.epsilon**2 if threat.norm is Norm.L2 else threat.epsilon
    assert max(exact_length(stored, clean, threat.norm)) <= limit + 1e-6
    assert threat.contains(stored, clean).all()


@given(clean_images, directions, linf)
def test_storing_moves_a_value_by_less_than_a_level(clean: Pixels, direction: Any, threat: ThreatModel) -> None:
    adversarial = moved(clean, direction, threat)

    stored = threat.to_pixels(adversarial, clean)

    assert np.abs(stored - adversarial.astype(np.float64) * 255).max() < 1 + 1e-4


@given(clean_images, directions, threats)
def test_storing_turns_no_change_around(clean: Pixels, direction: Any, threat: ThreatModel) -> None:
    adversarial = moved(clean, direction, threat)

    shift = threat.to_pixels(adversarial, clean).astype(int) - clean

    assert (shift * np.sign(adversarial - threat.bounds.to_images(clean)) >= 0).all()


@given(clean_images, st.integers(1, 255), st.sampled_from([-1.0, 1.0]))
def test_a_whole_l_infinity_budget_is_used_in_full(clean: Pixels, epsilon: int, sign: float) -> None:
    threat = ThreatModel(epsilon)

    stored = threat.to_pixels(moved(clean, np.full(SHAPE, sign), threat), clean)

    np.testing.assert_array_equal(stored, np.clip(clean.astype(int) + int(sign) * epsilon, 0, 255))


@given(directions, st.floats(50.0, 500.0))
def test_nearly_all_of_an_l2_budget_is_used(direction: Any, epsilon: float) -> None:
    clean, threat = np.full(SHAPE, 128, np.uint8), ThreatModel(epsilon, Norm.L2)
    adversarial = moved(clean, direction, threat)
    used = threat.distance(adversarial, threat.bounds.to_images(clean)) * 255

    length = np.sqrt(exact_length(threat.to_pixels(adversarial, clean), clean, Norm.L2))

    assert (length >= used - math.sqrt(math.prod(SHAPE[1:]))).all()


@given(clean_images, threats)
def test_a_clean_image_is_stored_unchanged(clean: Pixels, threat: ThreatModel) -> None:
    np.testing.assert_array_equal(threat.to_pixels(threat.bounds.to_images(clean), clean), clean)


@pytest.mark.parametrize("norm", Norm)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_an_image_that_is_not_finite_is_an_error(norm: Norm, bad: float) -> None:
    clean = np.full(SHAPE, 128, np.uint8)
    adversarial = (clean / 255).astype(np.float32)
    adversarial[1, 2, 0, 1] = bad

    with pytest.raises(AttackError, match="not finite"):
        ThreatModel(4, norm).to_pixels(adversarial, clean)


@given(
    st.sampled_from([Norm.LINF, Norm.L2, Norm.L1]),
    st.floats(0.5, 100.0),
    st.floats(0.01, 20.0),
    st.sampled_from([-1.0, 1.0]),
)
def test_leaving_the_budget_at_one_value_is_an_error(norm: Norm, epsilon: float, excess: float, sign: float) -> None:
    clean = np.full(SHAPE, 128, np.uint8)
    adversarial = (clean / 255).astype(np.float32)
    adversarial[0, 0, 2, 2] += np.float32(sign * (epsilon + excess) / 255)

    with pytest.raises(AttackError, match="left its budget"):
        ThreatModel(epsilon, norm).to_pixels(adversarial, clean)


def test_small_changes_of_many_values_can_leave_an_l2_budget() -> None:
    clean = np.full(SHAPE, 128, np.uint8)
    adversarial = ((clean + 1.0) / 255).astype(np.float32)

    ThreatModel(math.sqrt(27) + 0.01, Norm.L2).to_pixels(adversarial, clean)
    with pytest.raises(AttackError, match="left its budget"):
        ThreatModel(math.sqrt(27) - 0.01, Norm.L2).to_pixels(adversarial, clean)


@pytest.mark.parametrize("norm", Norm)
@pytest.mark.parametrize(("level", "step"), [(0, -1.0), (255, 1.0)])
def test_leaving_the_range_of_images_is_an_error_even_inside_the_budget(norm: Norm, level: int, step: float) -> None:
    clean = np.full(SHAPE, level, np.uint8)
    adversarial = ((clean + step) / 255).astype(np.float32)

    with pytest.raises(AttackError, match=r"range \[0, 1\]"):
        ThreatModel(40, norm).to_pixels(adversarial, clean)


@given(clean_images, st.integers(0, 1), st.sampled_from([Norm.LINF, Norm.L2, Norm.L1]), st.integers(1, 120))
def test_an_image_outside_the_budget_is_told_apart(clean: Pixels, index: int, norm: Norm, epsilon: int) -> None:
    def with_shift(levels: int) -> Pixels:
        changed = clean.copy()
        value = int(clean[index, 0, 0, 0])
        changed[index, 0, 0, 0] = value + levels if value < 128 else value - levels
        return changed

    threat = ThreatModel(epsilon, norm)

    assert threat.contains(with_shift(epsilon), clean).tolist() == [True, True]
    assert threat.contains(with_shift(epsilon + 1), clean).tolist() == [index != 0, index != 1]


def test_no_images_are_inside_every_budget() -> None:
    none = np.empty((0, 3, 3, 3), np.uint8)

    for threat in (ThreatModel(4, norm) for norm in Norm):
        assert threat.contains(none, none).shape == (0,)
        assert threat.to_pixels(none.astype(np.float32), none).shape == none.shape


@pytest.mark.parametrize(("epsilon", "levels"), [(1, 1), (4, 4), (4.9, 4), (0.0157 * 255, 4), (3.9999999, 4)])
def test_of_an_l_infinity_budget_whole_levels_can_be_stored(epsilon: float, levels: int) -> None:
    assert ThreatModel(epsilon).storable(192) == ThreatModel(levels)


@given(clean_images, st.integers(1, 8), st.integers(0, 2))
def test_an_image_with_a_changed_pixel_too_many_is_told_apart(clean: Pixels, budget: int, channel: int) -> None:
    threat, images = ThreatModel(budget, Norm.L0), Bounds().to_images(clean)
    places = [divmod(pixel, 3) for pixel in range(budget + 1)]
    changed = clean.copy()
    # One channel of a pixel by one level is a changed pixel; all of its channels are still one.
    for row, column in places[:budget]:
        changed[1, row, column] ^= 1

    assert threat.contains(changed, clean).all()
    threat.check(Bounds().to_images(changed), images)
    changed[(1, *places[budget], channel)] ^= 1
    assert threat.contains(changed, clean).tolist() == [True, False]
    with pytest.raises(AttackError, match=f"left its budget of l0:{budget} by 1"):
        threat.to_pixels(Bounds().to_images(changed), clean)


@given(directions, st.floats(30.0, 3000.0))
def test_nearly_all_of_an_l1_budget_is_used(direction: Any, epsilon: float) -> None:
    clean, threat = np.full(SHAPE, 128, np.uint8), ThreatModel(epsilon, Norm.L1)
    adversarial = moved(clean, direction, threat)
    used = threat.distance(adversarial, threat.bounds.to_images(clean)) * 255

    length = exact_length(threat.to_pixels(adversarial, clean), clean, Norm.L1)

    # Each of the 27 values may be rounded towards zero by half a level; only what is too long is shortened.
    assert (np.array(length) >= np.minimum(used, math.floor(epsilon)) - 27 / 2 - 1).all()


@given(st.integers(0, 1000))
def test_what_is_left_of_an_l1_budget_leaves_room_for_rounding(seed: int) -> None:
    threat, clean = ThreatModel(1000.0, Norm.L1), np.full((1, 16, 16, 3), 128, np.uint8)
    storable = threat.storable(clean[0].size)
    random = np.random.default_rng(seed)
    direction = random.laplace(size=clean.shape) * (random.random(clean.shape) < 0.1)
    step = direction / np.abs(direction).sum() * storable.radius
    adversarial = (threat.bounds.to_images(clean) + step).astype(np.float32)

    stored = threat.to_pixels(adversarial, clean)

    assert 990 < storable.epsilon < threat.epsilon
    assert (stored != np.rint(adversarial * 255)).sum() <= 5  # none at all but for one image in a thousand


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2, Norm.L1])
def test_less_than_a_level_cannot_be_stored(norm: Norm) -> None:
    with pytest.raises(ValueError, match="less than one level"):
        ThreatModel(0.99, norm).storable(192)


@given(st.integers(0, 1000))
def test_what_is_left_of_an_l2_budget_leaves_room_for_rounding(seed: int) -> None:
    threat, clean = ThreatModel(100.0, Norm.L2), np.full((1, 8, 8, 3), 128, np.uint8)
    storable = threat.storable(clean[0].size)
    direction = np.random.default_rng(seed).normal(size=clean.shape)
    step = direction / np.linalg.norm(direction) * storable.radius
    adversarial = (threat.bounds.to_images(clean) + step).astype(np.float32)

    stored = threat.to_pixels(adversarial, clean)

    assert 95 < storable.epsilon < threat.epsilon
    moved_back = stored != np.rint(adversarial * 255)
    assert moved_back.sum() <= 3  # none at all but for one image in a thousand


def test_a_small_l2_budget_is_used_as_it_is() -> None:
    threat = ThreatModel(2.0, Norm.L2)

    assert threat.storable(192) == threat


def test_rounding_to_float32_is_no_excess_however_large_the_bounds() -> None:
    threat = ThreatModel(1, Norm.L2, Bounds(0, 255))
    clean = np.full((1, 3, 3, 3), 128, np.uint8)
    images = threat.bounds.to_images(clean)
    step = np.float64(threat.radius / math.sqrt(27))

    stored = (images + step).astype(np.float32)
    rounded_up = np.where(stored < images + step, np.nextafter(stored, np.float32(np.inf)), stored)

    assert threat.distance(rounded_up, images).max() > threat.radius + 1e-5
    threat.check(rounded_up, images)
    with pytest.raises(AttackError, match="left its budget"):
        threat.check((images + 1.001 * step).astype(np.float32), images)
