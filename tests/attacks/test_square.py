"""The square attack: a random search that needs no gradient (Andriushchenko et al. 2020, arXiv 1912.00049)."""

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from dermrobust.attacks.apgd import APGDCE
from dermrobust.attacks.attack import Attack
from dermrobust.attacks.cleverhans.pgd import PGD
from dermrobust.attacks.errors import UserError
from dermrobust.attacks.logits import logits_of, margins
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.square import Square
from dermrobust.attacks.square_step import _squares, _uniform, sides
from dermrobust.attacks.target import Target
from dermrobust.attacks.threat import Images, ThreatModel
from tests.attacks.conftest import Victim
from tests.small_networks import counting_images

BUDGET = ThreatModel(16)


def published_share(query: int, queries: int, first: float) -> float:
    """The table of the authors' code, after so many of 10,000 queries."""
    at = int(query / queries * 10_000)
    for limit, divisor in (
        (10, 1),
        (50, 2),
        (200, 4),
        (500, 8),
        (1000, 16),
        (2000, 32),
        (4000, 64),
        (6000, 128),
        (8000, 256),
    ):
        if at <= limit:
            return first / divisor
    return first / 512


@pytest.mark.parametrize("queries", [10, 100, 5000, 10_000])
@pytest.mark.parametrize(("size", "first"), [(8, 0.8), (32, 0.8), (224, 0.8), (224, 0.05)])
def test_squares_shrink_as_published(queries: int, size: int, first: float) -> None:
    found = sides((size, size, 3), queries, first)

    expected = [
        min(max(round(math.sqrt(published_share(query, queries, first) * size * size)), 1), size - 1)
        for query in range(queries)
    ]
    assert found.tolist() == expected


def test_images_of_a_single_pixel_have_squares_of_one() -> None:
    assert sides((1, 1, 3), 5, 0.8).tolist() == [1] * 5


@given(st.integers(0, 2**64 - 1), st.integers(0, 10_000), st.integers(1, 7))
def test_a_square_lies_inside_the_image_and_has_its_side(key: int, iteration: int, side: int) -> None:
    square, signs = _squares(tf.constant([key], tf.uint64), tf.constant([iteration]), tf.constant([side]), (8, 9, 3))

    mask = square.numpy()[0, :, :, 0]
    assert mask.shape == (8, 9)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    assert len(rows) == len(columns) == side
    assert mask.sum() == side * side
    assert np.isin(signs.numpy(), (-1.0, 0.0, 1.0)).all()


def numbers(seed: int, count: int = 2000) -> npt.NDArray[np.float32]:
    """What an image's seed gives in so many queries: float32 [count, 5]."""
    return _uniform(tf.fill([count], tf.constant(seed, tf.uint64)), tf.range(count)).numpy()


def test_places_and_signs_are_uniform_and_each_query_has_its_own() -> None:
    drawn = numbers(12345)

    assert drawn.min() >= 0
    assert drawn.max() < 1
    np.testing.assert_allclose(drawn.mean(axis=0), 0.5, atol=0.03)
    np.testing.assert_allclose(drawn.std(axis=0), 1 / math.sqrt(12), atol=0.02)
    assert len(np.unique(drawn)) > 0.99 * drawn.size
    assert np.abs(np.corrcoef(drawn.T) - np.eye(5)).max() < 0.1


def test_restarts_and_images_draw_numbers_of_their_own(few: Victim) -> None:
    problem = few.problem(BUDGET)
    seeds = [int(problem.with_seeds(number).seeds[image]) for number in range(3) for image in range(2)]

    drawn = np.concatenate([numbers(seed).ravel() for seed in seeds])

    assert len(np.unique(drawn)) > 0.99 * drawn.size


def hiding_gradients(target: Target) -> Target:
    """The same classifier, whose gradients are nothing."""
    original = target.logits

    def logits(weights: Any, images: Any) -> Any:
        return original(weights, tf.stop_gradient(images))

    return dataclasses.replace(target, logits=logits, surrogates={})


def test_hidden_gradients_do_not_help_against_it(few: Victim) -> None:
    hidden = dataclasses.replace(few, target=hiding_gradients(few.target))

    found = hidden.attacked_pixels(Square(queries=200), BUDGET, batch_size=16)

    np.testing.assert_array_equal(found, few.attacked_pixels(Square(queries=200), BUDGET, batch_size=16))
    assert few.robust(found).mean() < 0.8


@pytest.mark.parametrize("attack", [PGD(steps=2), APGDCE(steps=2)], ids=lambda attack: attack.attack)
def test_attacks_that_need_gradients_say_so(few: Victim, attack: Attack) -> None:
    hidden = dataclasses.replace(few, target=hiding_gradients(few.target))

    with pytest.raises(UserError, match=r"no gradient.*square"):
        hidden.attacked_pixels(attack, BUDGET, batch_size=16)


def perturbed(victim: Victim, queries: int, *, goal: int | None = None, stop: bool = False) -> Images:
    problem = victim.problem(BUDGET, stop_at_success=stop)
    if goal is not None:
        problem = problem.with_goals(np.full(len(victim.labels), goal))
    return Square(queries=queries).perturb(problem)


def test_the_margin_never_grows_with_more_queries(few: Victim) -> None:
    """Even after success, where the most is to be made of the budget. Sides depend on the number of queries."""
    for queries in (1, 5, 40):
        found = [margins(logits_of(few.target, perturbed(few, count), 16), few.labels) for count in (1, queries)]
        assert (found[1] <= found[0] + 1e-5).all()


@pytest.mark.parametrize("goal", [None, 3])
def test_the_loss_never_falls_from_query_to_query(
    few: Victim, goal: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dermrobust.attacks import square_step, stepping

    seen: list[npt.NDArray[np.float32]] = []

    def watched(problem: Problem, method: Any) -> Images:
        def step(*arguments: Any) -> Any:
            state, done = method.step(*arguments)
            seen.append(state[1].numpy())
            return state, done

        return stepping.run(problem, dataclasses.replace(method, step=step))

    monkeypatch.setattr(square_step, "run", watched)
    perturbed(few, 150, goal=goal)

    losses = np.stack(seen)
    assert losses.shape == (150, len(few.labels))
    assert (np.diff(losses, axis=0) >= 0).all()
    assert (losses[-1] > losses[0]).all()


def test_what_it_returns_has_the_loss_that_it_found_best(few: Victim) -> None:
    """Also of images that it broke: it goes on to make the most of the budget."""
    first, last = (margins(logits_of(few.target, perturbed(few, count), 16), few.labels) for count in (60, 400))

    assert last.mean() < first.mean()
    assert (last < 0).sum() >= (first < 0).sum()


def test_it_starts_with_stripes_of_the_whole_budget(few: Victim) -> None:
    stripes = perturbed(few, 1)

    shift = np.rint((stripes - few.images) * 255)
    inside = (few.pixels >= 16) & (few.pixels <= 239)
    assert set(np.unique(shift[inside])) == {-16.0, 16.0}
    # A stripe is a column: one sign from top to bottom, in each channel.
    signs = np.sign(shift)
    assert (np.abs(signs.sum(axis=1)) == np.abs(signs).sum(axis=1)).all()


def test_it_asks_as_many_times_as_it_may(few: Victim) -> None:
    target, images = counting_images(few.target)
    problem = dataclasses.replace(few.problem(BUDGET, batch_size=16), target=target)

    Square(queries=30).perturb(problem)
    assert images() == 30 * 16


def test_restarts_break_as_many_images_or_more(victim: Victim) -> None:
    some = victim.take(slice(32))

    def broken(attack: Attack) -> int:
        return int((~some.robust(some.attacked_pixels(attack, BUDGET, batch_size=32, stop_at_success=True))).sum())

    assert broken(Square(queries=40, restarts=4)) >= broken(Square(queries=40)) > 0


def test_it_leads_to_a_goal(few: Victim) -> None:
    aimed = few.labels != 3
    attack = Square(queries=600)
    problem = few.problem(ThreatModel(48), stop_at_success=True).with_goals(np.full(len(few.labels), 3))

    predicted = few.predicted(attack.perturb(problem))

    assert (predicted == 3)[aimed].mean() > 0.3
