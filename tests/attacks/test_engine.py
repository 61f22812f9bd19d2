"""The engine: fixed batches in, stored images inside the budget out, whatever the attack does."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import PrivateAttr

from attacks.attack import Attack, Labels, Seeds
from attacks.cleverhans.pgd import random_start
from attacks.engine import attack_pixels, record_seeds, to_images
from attacks.errors import AttackError
from attacks.target import Target
from attacks.threat import Images, Pixels, ThreatModel

BUDGET = ThreatModel(4)
NOBODY = Target(logits=lambda weights, images: images, weights=())


class Drift(Attack):
    """Moves each image to a random point of the budget, drawn from its seed; remembers the batches that it got."""

    _batches: list[tuple[Images, Labels, Seeds]] = PrivateAttr(default_factory=list)

    def perturb(self, target: Target, images: Images, labels: Labels, threat: ThreatModel, seeds: Seeds) -> Images:
        self._batches.append((images, labels, seeds))
        return random_start(images, threat, seeds)

    @property
    def batches(self) -> list[tuple[Images, Labels, Seeds]]:
        return self._batches


class Broken(Attack):
    """Adds the same number to every value."""

    shift: float

    def perturb(self, target: Target, images: Images, labels: Labels, threat: ThreatModel, seeds: Seeds) -> Images:
        return images + np.float32(self.shift)


def records(count: int) -> tuple[Pixels, Labels, Seeds]:
    pixels = np.random.default_rng(0).integers(10, 240, (count, 4, 4, 3), dtype=np.uint8)
    return pixels, np.arange(count), np.arange(count, dtype=np.uint64) + 1000


def run(attack: Attack, data: tuple[Any, Any, Any], batch_size: int, threat: ThreatModel = BUDGET) -> Pixels:
    return attack_pixels(attack, NOBODY, *data, threat=threat, batch_size=batch_size)


@given(st.integers(0, 40), st.integers(1, 50))
def test_every_batch_has_the_same_shape(count: int, batch_size: int) -> None:
    attack = Drift()

    run(attack, records(count), batch_size)

    assert len(attack.batches) == math.ceil(count / batch_size)
    for images, labels, seeds in attack.batches:
        assert images.shape == (batch_size, 4, 4, 3)
        assert labels.shape == seeds.shape == (batch_size,)
        assert (images.dtype, labels.dtype, seeds.dtype) == (np.float32, np.int64, np.uint64)


@given(st.integers(1, 40), st.integers(1, 50))
def test_every_image_is_attacked_once_with_its_own_label_and_seed(count: int, batch_size: int) -> None:
    attack, (pixels, labels, seeds) = Drift(), records(count)

    run(attack, (pixels, labels, seeds), batch_size)

    seen = [np.concatenate(column)[:count] for column in zip(*attack.batches, strict=True)]
    for found, expected in zip(seen, (to_images(pixels), labels, seeds), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_last_batch_is_filled_up_with_copies_of_its_first_image() -> None:
    attack, (pixels, labels, seeds) = Drift(), records(5)

    stored = run(attack, (pixels, labels, seeds), 3)

    images, truth, drawn = attack.batches[-1]
    np.testing.assert_array_equal(images, to_images(pixels)[[3, 4, 3]])
    assert truth.tolist() == [3, 4, 3]
    assert drawn.tolist() == seeds[[3, 4, 3]].tolist()
    assert stored.shape == pixels.shape


@given(st.integers(0, 30), st.integers(1, 40), st.data())
def test_neither_batch_size_nor_order_nor_split_changes_a_pixel(
    count: int, batch_size: int, data: st.DataObject
) -> None:
    pixels, labels, seeds = records(count)
    expected = run(Drift(), (pixels, labels, seeds), 8)
    order = np.array(data.draw(st.permutations(range(count))), dtype=np.int64)
    cut = data.draw(st.integers(0, count))

    parts = [run(Drift(), (pixels[part], labels[part], seeds[part]), batch_size) for part in (order[:cut], order[cut:])]

    np.testing.assert_array_equal(np.concatenate(parts), expected[order])


@given(st.integers(1, 20), st.integers(1, 30), st.integers(1, 255))
def test_what_is_stored_is_within_the_budget(count: int, batch_size: int, epsilon: int) -> None:
    data = records(count)

    stored = run(Drift(), data, batch_size, ThreatModel(epsilon))

    assert stored.dtype == np.uint8
    assert np.abs(stored.astype(int) - data[0]).max() <= epsilon


@pytest.mark.parametrize("shift", [math.nan, math.inf, 5 / 255, -5 / 255])
def test_an_attack_that_breaks_its_promise_is_an_error(shift: float) -> None:
    with pytest.raises(AttackError):
        run(Broken(shift=shift), records(3), 2)


@given(st.lists(st.text(min_size=1), unique=True, max_size=20), st.integers(0, 2**31 - 1))
def test_the_seed_of_an_image_does_not_depend_on_its_neighbours(ids: list[str], seed: int) -> None:
    together = record_seeds(ids, attack="pgd", threat=BUDGET, seed=seed)

    alone = [record_seeds([name], attack="pgd", threat=BUDGET, seed=seed)[0] for name in ids]

    assert together.dtype == np.uint64
    assert together.tolist() == alone
    assert len(set(alone)) == len(ids)


def test_image_attack_budget_and_the_seed_of_the_run_each_give_other_seeds() -> None:
    drawn = [
        record_seeds([image], attack=attack, threat=ThreatModel(epsilon), seed=seed)[0]
        for image in ("ISIC_1", "ISIC_2")
        for attack in ("pgd", "apgd")
        for epsilon in (1, 2)
        for seed in (0, 1)
    ]

    assert len(set(drawn)) == 16


def test_seeds_are_the_same_for_ever() -> None:
    """Published results depend on them: a change here is a change of every random start."""
    assert record_seeds(["ISIC_0024306"], attack="pgd", threat=BUDGET, seed=0).tolist() == [7340040865237213417]
