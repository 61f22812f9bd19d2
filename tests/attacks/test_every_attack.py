"""Properties that all attacks share."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from dermrobust.attacks.attack import TargetedAttack
from dermrobust.attacks.kinds import Kind
from dermrobust.attacks.registry import ATTACKS
from dermrobust.attacks.selection import read_attack
from dermrobust.attacks.threat import Norm, Pixels
from tests.attacks.attack_table import (
    BUDGETS,
    CASES,
    TABLE,
    TARGETED,
    WIDE_BUDGETS,
    every_attack,
    every_case,
    lengths,
)
from tests.attacks.conftest import Victim, assert_same
from tests.small_networks import CLASS_COUNT

BATCH = 16
GOALS = [
    (name, norm, goal)
    for name, norm in CASES
    for goal in (3, "least_likely")
    if name in TARGETED and (name != "universal" or goal == 3)  # one perturbation cannot lead to several classes
]

Stored = Callable[..., Pixels]


@pytest.fixture(scope="module")
def stored(victim: Victim) -> Stored:
    """Stored adversarial images of (attack, norm, stop_at_success), computed once for all tests."""

    @functools.cache
    def result(name: str, norm: Norm, stop: bool = False) -> Pixels:
        return images_of(victim, name).attacked_pixels(
            TABLE[name].attack, BUDGETS[norm], batch_size=BATCH, stop_at_success=stop
        )

    return result


def images_of(victim: Victim, name: str) -> Victim:
    return victim.take(slice(TABLE[name].images))


def test_the_table_has_every_attack_of_the_registry() -> None:
    assert set(TABLE) == set(ATTACKS.names)
    for name, entry in TABLE.items():
        assert type(entry.attack) is ATTACKS.resolve(name)


@every_case
def test_what_is_stored_lies_in_the_budget(name: str, norm: Norm, victim: Victim, stored: Stored) -> None:
    clean, adversarial = images_of(victim, name).pixels, stored(name, norm)

    assert adversarial.dtype == np.uint8
    assert adversarial.shape == clean.shape
    shift = adversarial.astype(np.int64) - clean
    assert lengths(shift, norm).max() <= BUDGETS[norm].epsilon
    assert (shift != 0).any()


@every_case
def test_images_that_are_not_stored_lie_in_the_budget_and_the_range(name: str, norm: Norm, victim: Victim) -> None:
    clean = images_of(victim, name)

    moved = clean.attacked_images(TABLE[name].attack, BUDGETS[norm], batch_size=BATCH)

    assert moved.dtype == np.float32
    assert moved.min() >= 0
    assert moved.max() <= 1
    shift = moved.astype(np.float64) - clean.images
    assert lengths(shift, norm).max() <= BUDGETS[norm].radius * (1 + 1e-5)


@every_case
def test_the_classifier_errs_more_often(name: str, norm: Norm, victim: Victim, stored: Stored) -> None:
    clean = images_of(victim, name)
    assert clean.robust(clean.pixels).mean() > 0.95

    broken = 1 - clean.robust(stored(name, norm)).mean()

    assert broken >= TABLE[name].breaks


@every_case
def test_the_same_attack_again_gives_the_same_bytes(name: str, norm: Norm, victim: Victim, stored: Stored) -> None:
    again = images_of(victim, name).attacked_pixels(TABLE[name].attack, BUDGETS[norm], batch_size=BATCH)

    np.testing.assert_array_equal(again, stored(name, norm))


@pytest.mark.parametrize(("name", "norm"), [case for case in CASES if TABLE[case[0]].alone])
@pytest.mark.parametrize("batch_size", [5, 64])
def test_neither_order_nor_split_nor_batch_size_changes_an_image(
    name: str, norm: Norm, batch_size: int, victim: Victim, stored: Stored
) -> None:
    count = TABLE[name].images
    order = np.random.default_rng(batch_size).permutation(count)
    parts: tuple[npt.NDArray[np.int64], ...] = (order[: count // 3], order[count // 3 :])

    found = [
        victim.take(part).attacked_pixels(TABLE[name].attack, BUDGETS[norm], batch_size=batch_size) for part in parts
    ]

    # Random numbers belong to an image, so noise is the same to the last bit.
    assert_same(np.concatenate(found), stored(name, norm)[order], but=0 if name == "noise" else 0.01)


@every_attack
def test_the_network_stays_as_it_was(name: str, victim: Victim) -> None:
    before = [np.array(variable) for variable in victim.network.variables]

    images_of(victim, name).attacked_images(
        TABLE[name].attack, BUDGETS[TABLE[name].attack.norms[0]], batch_size=BATCH, stop_at_success=True
    )

    for variable, value in zip(victim.network.variables, before, strict=True):
        np.testing.assert_array_equal(np.array(variable), value)


@every_case
def test_stopping_at_success_breaks_as_many_images_or_more(
    name: str, norm: Norm, victim: Victim, stored: Stored
) -> None:
    clean = images_of(victim, name)

    stopped, full = (clean.robust(stored(name, norm, stop)) for stop in (True, False))

    assert stopped.sum() <= full.sum()
    if TABLE[name].attack.kind in (Kind.SINGLE_STEP, Kind.NOISE):  # they do not go on after success anyway
        np.testing.assert_array_equal(stopped, full)


@every_case
def test_where_success_is_enough_an_image_that_is_wrong_anyway_is_left_alone(
    name: str, norm: Norm, victim: Victim
) -> None:
    wrong = images_of(victim, name).take(slice(4))
    wrong = dataclasses.replace(wrong, labels=(wrong.predicted(wrong.pixels) + 1) % CLASS_COUNT)
    left = wrong.attacked_pixels(TABLE[name].attack, BUDGETS[norm], batch_size=BATCH, stop_at_success=True)

    np.testing.assert_array_equal(left, wrong.pixels)


@pytest.mark.parametrize(("name", "norm", "goal"), GOALS)
@pytest.mark.parametrize("stop", [False, True])
def test_a_goal_is_reached_and_images_of_that_class_are_left_alone(
    name: str, norm: Norm, goal: int | str, stop: bool, victim: Victim
) -> None:
    attack = TABLE[name].attack.model_copy(update={"goal": goal})
    assert isinstance(attack, TargetedAttack)
    clean = images_of(victim, name)
    logits = clean.logits(clean.images)
    goals = logits.argmin(axis=1) if goal == "least_likely" else np.full(len(logits), goal)

    found = clean.attacked_pixels(attack, WIDE_BUDGETS[norm], batch_size=BATCH, stop_at_success=stop)

    aimed = goals != clean.labels
    assert aimed.sum() > 0
    reached = (clean.predicted(found) == goals)[aimed].mean()
    assert reached >= TABLE[name].leads
    assert reached > (logits.argmax(axis=1) == goals)[aimed].mean()
    np.testing.assert_array_equal(found[~aimed], clean.pixels[~aimed])


@every_attack
def test_every_parameter_says_what_it_is(name: str) -> None:
    for field, info in type(TABLE[name].attack).model_fields.items():
        if field != "attack":
            assert info.description, f"{name}.{field} has no description"


@every_attack
def test_a_config_gives_the_attack_back(name: str) -> None:
    attack = TABLE[name].attack

    assert read_attack(attack.model_dump(mode="json")) == attack
