"""Sparse-RS: random search over few pixels (Croce et al. 2022, arXiv 2006.12834)."""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from dermrobust.attacks import sparse_rs_step, stepping
from dermrobust.attacks.apgd import APGDCE
from dermrobust.attacks.attack import Attack
from dermrobust.attacks.errors import UserError
from dermrobust.attacks.noise import Noise
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.sparse_rs import SparseRS
from dermrobust.attacks.square import Square
from dermrobust.attacks.threat import Images, Norm, ThreatModel
from tests.attacks.conftest import Victim
from tests.small_networks import counting_images

BUDGET = ThreatModel(5, Norm.L0)


def published_count(query: int, queries: int, budget: int, first: float) -> int:
    """The table of the authors' code, after so many of 10,000 queries."""
    at = int(query / queries * 10_000)
    table = ((0, 1), (50, 2), (200, 4), (500, 5), (1000, 6), (2000, 8), (4000, 10), (6000, 12), (8000, 15))
    divisor = next((divisor for limit, divisor in table if at <= limit), 20)
    return max(int(first / divisor * budget), 1)


@pytest.mark.parametrize(("queries", "budget", "first"), [(10, 24, 0.3), (5000, 24, 0.3), (10_000, 150, 0.8)])
def test_fewer_pixels_are_exchanged_as_published(queries: int, budget: int, first: float) -> None:
    found = sparse_rs_step.counts(1024, budget, queries, first)

    assert found.tolist() == [published_count(query, queries, budget, first) for query in range(queries)]


def test_no_more_pixels_are_exchanged_than_there_are_others() -> None:
    assert sparse_rs_step.counts(64, 60, 100, 1.0).max() == 4
    assert sparse_rs_step.counts(1, 1, 5, 0.3).tolist() == [1] * 5


@settings(max_examples=30)
@given(st.integers(0, 2**64 - 1), st.integers(0, 10_000), st.integers(1, 20))
def test_exactly_as_many_pixels_are_chosen_and_only_of_those_allowed(key: int, iteration: int, count: int) -> None:
    shape = (6, 7, 3)
    among = np.random.default_rng(key).permutation(42).reshape(1, 6, 7, 1) < 20
    bits = sparse_rs_step._bits(tf.constant([key], tf.uint64), tf.constant([iteration]), shape)

    chosen = sparse_rs_step._some(bits, tf.constant(among), tf.constant([count]), tf.constant(20), shape).numpy()

    assert chosen.shape == (1, 6, 7, 1)
    assert chosen.sum() == count
    assert not (chosen & ~among).any()


def test_every_pixel_and_color_is_as_likely() -> None:
    shape, draws = (4, 4, 3), 4000
    bits = sparse_rs_step._bits(tf.fill([draws], tf.constant(7, tf.uint64)), tf.range(draws), shape)
    everywhere, four = tf.fill([draws, 4, 4, 1], True), tf.fill([draws], 4)

    chosen = sparse_rs_step._some(bits, everywhere, four, tf.constant(4), shape).numpy()
    coins = sparse_rs_step._coins(bits, shape).numpy()

    np.testing.assert_allclose(chosen.mean(axis=0), 0.25, atol=0.035)
    # Also of the pixels that are chosen: places and colors use other bits.
    np.testing.assert_allclose(coins[chosen[..., 0]].mean(axis=0), 0.5, atol=0.02)
    np.testing.assert_allclose(coins.mean(axis=0), 0.5, atol=0.04)


def test_each_query_changes_few_pixels_to_corners_and_the_loss_never_falls(
    few: Victim, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[npt.NDArray[Any], ...]] = []

    def watched(problem: Problem, method: Any) -> Images:
        def step(*arguments: Any) -> Any:
            state, done = method.step(*arguments)
            seen.append(tuple(tensor.numpy() for tensor in state))
            return state, done

        return stepping.run(problem, dataclasses.replace(method, step=step))

    monkeypatch.setattr(sparse_rs_step, "run", watched)
    target, images = counting_images(few.target)
    problem = dataclasses.replace(few.problem(BUDGET, batch_size=16), target=target)

    found = SparseRS(queries=60).perturb(problem)

    assert images() == 60 * 16
    for image, _, _, chosen in seen:
        assert (chosen.sum(axis=(1, 2, 3)) == 5).all()
        np.testing.assert_array_equal(np.where(chosen, 0, image), np.where(chosen, 0, few.images))
        assert np.isin(image[chosen[..., 0]], (0.0, 1.0)).all()
    values = np.stack([value for _, value, _, _ in seen])
    assert (np.diff(values, axis=0) >= 0).all()
    assert (values[-1] > values[0]).all()
    np.testing.assert_array_equal(found, seen[-1][0])
    # The search moves to other places, and does not only try other colors.
    assert (seen[-1][3] != seen[0][3]).any(axis=(1, 2, 3)).all()


def test_it_breaks_what_random_pixels_leave_standing(victim: Victim) -> None:
    random, found = (
        victim.robust(victim.attacked_pixels(attack, BUDGET, batch_size=96, stop_at_success=True)).mean()
        for attack in (Noise(draws=20), SparseRS(queries=200))
    )

    assert found < 0.3 < random - 0.2


@pytest.mark.parametrize("budget", [63, 64])
def test_a_budget_of_all_pixels_can_be_used(budget: int, few: Victim) -> None:
    found = few.attacked_pixels(SparseRS(queries=20), ThreatModel(budget, Norm.L0), batch_size=16)

    assert few.robust(found).mean() < 0.2


def test_more_pixels_than_there_are_is_no_budget(few: Victim) -> None:
    with pytest.raises(UserError, match=r"l0:65 is more pixels than images of .* have: 64"):
        few.attacked_pixels(SparseRS(), ThreatModel(65, Norm.L0))


@pytest.mark.parametrize("attack", [APGDCE(), Square()], ids=lambda attack: attack.name)
def test_attacks_that_are_not_defined_for_l0_say_so(attack: Attack, few: Victim) -> None:
    with pytest.raises(UserError, match=f"{attack.name} is defined for .* only, not for l0"):
        few.attacked_pixels(attack, BUDGET)
