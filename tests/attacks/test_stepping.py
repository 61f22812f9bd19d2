"""Stepwise attacks: full batches, no work on images that are done, one compiled step for everything."""

import dataclasses
import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from dermrobust.attacks.apgd import APGDCE
from dermrobust.attacks.attack import Attack
from dermrobust.attacks.cleverhans.bim import BIM
from dermrobust.attacks.cleverhans.fgsm import FGSM
from dermrobust.attacks.cleverhans.mim import MIM
from dermrobust.attacks.cleverhans.pgd import PGD
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.sparse_rs import SparseRS
from dermrobust.attacks.square import Square
from dermrobust.attacks.stepping import Method, run
from dermrobust.attacks.target import Target
from dermrobust.attacks.threat import Images, Norm, ThreatModel
from dermrobust.models.classifier import attack_target
from tests.attacks.conftest import Victim, assert_same
from tests.small_networks import CLASS_COUNT, counting_calls, counting_images, linear_target, tiny_network

BUDGET = ThreatModel(8)
STEPWISE = [FGSM(), BIM(steps=4), PGD(steps=4), MIM(steps=4), APGDCE(steps=4), Square(queries=8)]
stepwise = pytest.mark.parametrize("attack", STEPWISE, ids=lambda attack: attack.attack)


class Counter:
    """A method that counts: an image's value is its number, and each step that it goes through adds 1000 to it.

    An image is done in its own step `falls[number]`, counted from 0.
    """

    def __init__(self, falls: list[int], iterations: int) -> None:
        self.falls = tf.constant([*falls, 0])
        self.method = Method(self.start, self.step, iterations)
        self.entered: list[int] = []
        self.sizes: list[int] = []
        self.iterations: list[set[int]] = []

    def start(self, part: Problem) -> list[npt.NDArray[np.float32]]:
        self.entered += part.seeds.astype(int).tolist()
        assert part.images.ravel().tolist() == part.labels.tolist() == part.seeds.tolist()
        return [part.images, part.images.reshape(-1)]

    def step(self, weights: Any, clean: Any, classes: Any, iteration: Any, stop: Any, state: Any) -> Any:
        images, number = state
        self.sizes.append(len(images))
        self.iterations.append(set(iteration.numpy().tolist()))
        np.testing.assert_array_equal(number, tf.cast(classes, tf.float32))  # each image goes with its own class
        np.testing.assert_array_equal(number, tf.reshape(clean, [-1]))
        done = iteration >= tf.gather(self.falls, tf.cast(number, tf.int32))
        return (images + 1000.0, number), done


def counted(falls: list[int], iterations: int, batch_size: int, *, stop: bool) -> tuple[list[int], Counter]:
    """Return how many steps each image went through."""
    number = np.arange(len(falls))
    problem = Problem(
        linear_target(),
        number.astype(np.float32).reshape(-1, 1, 1, 1),
        number,
        BUDGET,
        number.astype(np.uint64),
        batch_size,
        stop,
    )
    counter = Counter(falls, iterations)
    found = run(problem, counter.method).ravel().astype(int)
    assert (found % 1000).tolist() == number.tolist()  # every place of the result has its own image
    return (found // 1000).tolist(), counter


@given(
    falls=st.one_of(st.lists(st.integers(0, 12), max_size=10), st.lists(st.integers(0, 12), min_size=20, max_size=60)),
    iterations=st.integers(1, 10),
    batch_size=st.one_of(st.integers(1, 16), st.integers(17, 64)),
    stop=st.booleans(),
)
def test_every_image_gets_its_own_result_once(falls: list[int], iterations: int, batch_size: int, stop: bool) -> None:
    steps, counter = counted(falls, iterations, batch_size, stop=stop)

    assert steps == [min(fall + 1, iterations) if stop else iterations for fall in falls]
    assert counter.entered == list(range(len(falls)))
    assert all(size <= batch_size for size in counter.sizes)


@given(falls=st.lists(st.integers(0, 12), min_size=1, max_size=100), batch_size=st.sampled_from([16, 32, 48, 64]))
def test_a_batch_has_one_of_a_few_sizes(falls: list[int], batch_size: int) -> None:
    """So that whatever a library compiles or plans for a shape, it does a few times."""
    _, counter = counted(falls, 10, batch_size, stop=True)

    halves = list(itertools.takewhile(lambda size: size >= 4, (batch_size // 2**power for power in range(8))))
    assert len(set(counter.sizes)) <= 4 * len(halves)
    assert counter.sizes == sorted(counter.sizes, reverse=True)  # it only shrinks, once no image waits


@given(st.integers(1, 64))
def test_few_places_of_a_batch_are_computed_in_vain(count: int) -> None:
    _, counter = counted([9] * count, 10, 64, stop=False)

    assert sum(counter.sizes) <= 10 * count * (1.25 if count > 8 else 2)


@given(falls=st.lists(st.integers(0, 12), min_size=1, max_size=16))
def test_places_of_a_batch_that_is_not_refilled_are_at_the_same_iteration(falls: list[int]) -> None:
    """Free ones too, so that a step can leave out for the whole batch what no image of it needs."""
    _, counter = counted(falls, 10, 16, stop=True)

    assert counter.iterations == [{step} for step in range(len(counter.iterations))]


def test_places_that_are_free_are_taken_by_the_next_images() -> None:
    falls = [0] * 63 + [19]
    _, counter = counted(falls, 20, 16, stop=True)

    # 63 images that fall at once fill four batches; one image that never falls takes 20 small steps.
    assert sum(counter.sizes) <= 4 * 16 + 20 * 2


def test_without_stopping_every_image_is_in_every_step_of_a_full_batch() -> None:
    _, counter = counted([0] * 32, 7, 16, stop=False)

    assert counter.sizes == [16] * 14


def evaluations(attack: Attack, victim: Victim, *, stop: bool) -> int:
    """How many images the step showed to the network."""
    target, images = counting_images(victim.target)
    attack.perturb(dataclasses.replace(victim.problem(BUDGET, batch_size=16, stop_at_success=stop), target=target))
    return images()


def test_images_are_attacked_only_until_they_fall(victim: Victim) -> None:
    some = victim.take(slice(32))
    weak = dataclasses.replace(some, labels=(some.predicted(some.pixels) + 1) % CLASS_COUNT)  # wrong from the start

    assert evaluations(PGD(steps=10), some, stop=False) == 32 * 10
    assert evaluations(PGD(steps=10), weak, stop=True) == 32  # one look at each
    assert 32 < evaluations(BIM(steps=50), some, stop=True) < 32 * 50


@stepwise
def test_stopping_returns_what_was_found_when_it_stopped(attack: Attack, victim: Victim) -> None:
    """Of an image that errs at its start, the start."""
    some = victim.take(slice(32))
    problem = some.problem(ThreatModel(16), batch_size=16, stop_at_success=True)

    fallen = ~some.robust(attack.perturb(problem))
    full = ~some.robust(attack.perturb(dataclasses.replace(problem, stop_at_success=False)))

    assert fallen.sum() >= full.sum()
    assert fallen.any()


@pytest.mark.parametrize(
    ("attack", "norm"), [(attack, norm) for attack in (*STEPWISE, SparseRS(queries=8)) for norm in attack.norms]
)
def test_a_step_is_traced_once_for_all_batch_sizes_steps_budgets_and_models(
    attack: Attack, norm: Norm, victim: Victim
) -> None:
    target, calls = counting_calls(victim.target)
    other = Target(target.logits, attack_target(tiny_network((8, 8, 3), CLASS_COUNT, 1)).weights)
    some = victim.take(slice(20))
    attacks = [attack, *(attack.model_copy(update={name: 3}) for name in ("steps", "queries") if hasattr(attack, name))]

    for changed in attacks:
        for threat in (ThreatModel(1, norm), ThreatModel(3, norm), ThreatModel(8, norm)):
            for model in (target, other):
                for batch_size, stop in ((5, False), (16, True), (64, True)):
                    problem = some.problem(threat, batch_size=batch_size, stop_at_success=stop)
                    changed.perturb(dataclasses.replace(problem, target=model))

    assert calls() == 1


@stepwise
@pytest.mark.parametrize("batch_size", [1, 7, 32])
def test_the_size_of_a_batch_does_not_change_what_stopping_finds(
    attack: Attack, batch_size: int, victim: Victim
) -> None:
    some = victim.take(slice(32))

    def found(size: int) -> Images:
        return attack.perturb(some.problem(ThreatModel(12), batch_size=size, stop_at_success=True))

    assert_same(found(batch_size), found(100), atol=1e-6)
