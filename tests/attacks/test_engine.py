"""Engine: attacks optimize stored images, the exact classifier decides on success, seeds belong to images."""

import dataclasses
import tracemalloc
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from dermrobust.attacks.apgd import APGDCE
from dermrobust.attacks.attack import Attack
from dermrobust.attacks.cleverhans.bim import BIM
from dermrobust.attacks.cleverhans.carlini_wagner import CarliniWagnerL2
from dermrobust.attacks.cleverhans.fgsm import FGSM
from dermrobust.attacks.cleverhans.pgd import PGD
from dermrobust.attacks.engine import attack_pixels, record_seeds, to_images
from dermrobust.attacks.ensemble import Ensemble
from dermrobust.attacks.errors import AttackError
from dermrobust.attacks.noise import Noise
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.square import Square
from dermrobust.attacks.target import Target
from dermrobust.attacks.threat import Images, Norm, ThreatModel
from tests.attacks.conftest import Victim
from tests.small_networks import CLASS_COUNT, counting_images

BUDGET = ThreatModel(12)


# What is aimed at is what is stored.


@pytest.mark.parametrize(
    ("attack", "threat"),
    [
        (PGD(steps=10), ThreatModel(8)),
        (PGD(steps=10), ThreatModel(8.7)),
        (APGDCE(steps=10), ThreatModel(8)),
        (Square(queries=100), ThreatModel(16)),
        (Ensemble(members=(FGSM(), BIM(steps=5))), ThreatModel(8)),
        (APGDCE(steps=10), ThreatModel(120, Norm.L2)),
    ],
    ids=["pgd", "pgd of a broken budget", "apgd", "square", "ensemble", "apgd l2"],
)
def test_an_image_that_an_attack_took_for_broken_is_broken_as_a_file(
    attack: Attack, threat: ThreatModel, victim: Victim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where what is found is rounded, and nothing else."""
    kept: list[Images] = []
    original = type(attack).perturb

    def watched(self: Attack, problem: Problem) -> Images:
        kept.append(original(self, problem))
        return kept[-1]

    monkeypatch.setattr(type(attack), "perturb", watched)
    stored = victim.attacked_pixels(attack, threat, batch_size=96, stop_at_success=True)

    believed = ~victim.robust((np.rint(kept[-1] * 255) / 255).astype(np.float32))
    assert believed.sum() > 10
    np.testing.assert_array_equal(~victim.robust(stored), believed)


def test_the_classifier_is_shown_stored_images_in_every_step(few: Victim) -> None:
    levels: list[float] = []
    original = few.target.logits

    def note(images: Any) -> None:
        scaled = np.asarray(images) * 255
        levels.append(float(np.abs(scaled - np.rint(scaled)).max()))

    def logits(weights: Any, images: Any) -> Any:
        tf.py_function(note, [images], [])
        return original(weights, images)

    watched = dataclasses.replace(few, target=Target(logits, few.target.weights))

    watched.attacked_pixels(PGD(steps=3), BUDGET, batch_size=16)
    assert max(levels) < 1e-4
    watched.attacked_images(PGD(steps=3), BUDGET, batch_size=16)
    assert max(levels) > 0.1


def test_a_budget_of_a_fraction_of_a_level_more_gives_the_same_images(few: Victim) -> None:
    for attack in (FGSM(), PGD(steps=4)):
        whole, more = (few.attacked_pixels(attack, ThreatModel(epsilon), batch_size=16) for epsilon in (4, 4.9))
        np.testing.assert_array_equal(whole, more)


def test_a_network_sees_pixels_divided_by_255() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=-1)

    images = to_images(pixels)

    assert images.dtype == np.float32
    np.testing.assert_array_equal(images, pixels.astype(np.float32) / np.float32(255))


# Where gradients come from something cheaper, the classifier itself decides.


def negated(target: Target) -> Target:
    """A poor approximation: it takes images of class 0 for what they are, and all others for class 0."""
    original = target.logits

    def logits(weights: Any, images: Any) -> Any:
        values = original(weights, images)
        return values + 1000.0 * tf.one_hot(0, CLASS_COUNT)

    return Target(logits, target.weights, exact=target, slack=0.02)


@pytest.mark.parametrize(
    "attack", [PGD(steps=5), APGDCE(steps=5), Square(queries=200), FGSM()], ids=lambda attack: attack.attack
)
def test_an_error_of_the_approximation_alone_is_no_success(attack: Attack, few: Victim) -> None:
    """Its errors are everywhere: who believed them would hand in the clean images."""
    deceived = dataclasses.replace(few, target=negated(few.target))

    found = deceived.attacked_pixels(attack, BUDGET, batch_size=16, stop_at_success=True)

    honest = few.attacked_pixels(attack, BUDGET, batch_size=16, stop_at_success=True)
    others = few.labels != 0
    assert not few.robust(honest).all()
    np.testing.assert_array_equal(few.robust(found)[others], few.robust(honest)[others])


def shifted(target: Target, amount: float) -> Target:
    """An approximation that is a little off: one class's logit is too large."""
    original = target.logits

    def logits(weights: Any, images: Any) -> Any:
        return original(weights, images) + amount * tf.one_hot(1, CLASS_COUNT)

    return Target(logits, target.weights, exact=target, slack=0.02)


@settings(max_examples=8)
@given(amount=st.sampled_from([-4.0, -1.0, -0.1, 0.1, 1.0, 4.0]), stop=st.booleans())
def test_an_approximation_never_makes_a_model_look_more_robust_than_a_single_step_shows(
    amount: float, stop: bool, victim: Victim
) -> None:
    deceived = dataclasses.replace(victim, target=shifted(victim.target, amount))

    found = deceived.attacked_pixels(PGD(steps=10), BUDGET, batch_size=32, stop_at_success=stop)

    step = victim.attacked_pixels(FGSM(), BUDGET, batch_size=32)
    assert victim.robust(found).mean() <= victim.robust(step).mean() + 0.05


def test_which_images_are_wrong_anyway_is_decided_by_the_classifier_itself(few: Victim) -> None:
    deceived = dataclasses.replace(few, target=negated(few.target))
    wrong = dataclasses.replace(deceived, labels=(few.predicted(few.pixels) + 1) % CLASS_COUNT)

    left = wrong.attacked_pixels(PGD(steps=3), BUDGET, batch_size=16, stop_at_success=True)

    np.testing.assert_array_equal(left, few.pixels)


@pytest.mark.parametrize(
    ("attack", "threat"),
    [(Square(queries=5), BUDGET), (CarliniWagnerL2(steps=3, binary_search_steps=1), ThreatModel(60, Norm.L2))],
    ids=["square", "cw_l2"],
)
def test_attacks_that_gain_nothing_from_an_approximation_do_not_use_it(
    attack: Attack, threat: ThreatModel, few: Victim
) -> None:
    approximate, images = counting_images(negated(few.target))

    found = attack.perturb(dataclasses.replace(few.problem(threat), target=approximate))

    assert images() == 0
    np.testing.assert_array_equal(found, attack.perturb(few.problem(threat)))


# Seeds.


@given(st.lists(st.text(min_size=1), unique=True, max_size=20), st.integers(0, 2**31 - 1))
def test_the_seed_of_an_image_does_not_depend_on_its_neighbours(ids: list[str], seed: int) -> None:
    together = record_seeds(ids, attack="pgd", threat=BUDGET, seed=seed)

    alone = [record_seeds([name], attack="pgd", threat=BUDGET, seed=seed)[0] for name in ids]

    assert together.dtype == np.uint64
    assert together.tolist() == alone
    assert len(set(alone)) == len(ids)


def test_image_attack_norm_budget_and_the_seed_of_the_run_each_give_other_seeds() -> None:
    drawn = [
        record_seeds([image], attack=attack, threat=ThreatModel(epsilon, norm), seed=seed)[0]
        for image in ("ISIC_1", "ISIC_2")
        for attack in ("pgd", "apgd")
        for norm in Norm
        for epsilon in (1, 2)
        for seed in (0, 1)
    ]

    assert len(set(drawn)) == 64


def test_seeds_are_the_same_for_ever() -> None:
    """Published results depend on them: a change here is a change of every random start."""
    threats = (ThreatModel(4), ThreatModel(4, Norm.L2))
    seeds = [record_seeds(["ISIC_0024306"], attack="pgd", threat=threat, seed=0)[0] for threat in threats]

    assert seeds == [7340040865237213417, 8746458379565509514]


@pytest.mark.parametrize("attack", [PGD(steps=2), APGDCE(steps=2), Square(queries=5)], ids=lambda attack: attack.attack)
def test_another_seed_gives_another_start(attack: Attack, few: Victim) -> None:
    other = attack_pixels(
        attack, few.target, few.pixels, few.labels, few.seeds + np.uint64(1), threat=BUDGET, batch_size=16
    )

    assert (other != few.attacked_pixels(attack, BUDGET, batch_size=16)).any(axis=(1, 2, 3)).all()


def working_memory(images: int) -> int:
    """Bytes that an attack has allocated at most, beside its result; in blocks of 16 batches."""
    pixels = np.random.default_rng(0).integers(0, 256, (images, 8, 8, 3), dtype=np.uint8)
    target = Target(lambda weights, batch: tf.reduce_sum(batch, axis=(1, 2))[:, :2] * weights[0], (tf.constant(1.0),))
    labels, seeds = np.zeros(images, np.int64), np.arange(images, dtype=np.uint64)
    tracemalloc.start()
    attack_pixels(Noise(), target, pixels, labels, seeds, threat=ThreatModel(4), batch_size=8)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak - pixels.nbytes


def test_memory_does_not_grow_with_the_number_of_images() -> None:
    working_memory(128)

    one_block, many = working_memory(128), working_memory(16 * 128)

    # One block holds each image as float64 while it is checked: 16 blocks at a time would be 16 times as much.
    assert many < 1.5 * one_block


# A device with little memory.


def short_of_memory(monkeypatch: pytest.MonkeyPatch, largest: int) -> list[int]:
    """Let PGD find memory for so many images at once; return the batch sizes that it was asked for."""
    asked: list[int] = []
    original = PGD.perturb

    def perturb(self: PGD, problem: Problem) -> Images:
        asked.append(problem.batch_size)
        if problem.batch_size > largest:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
        return original(self, problem)

    monkeypatch.setattr(PGD, "perturb", perturb)
    return asked


def test_batches_are_halved_until_they_fit_and_results_stay(few: Victim, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = few.attacked_pixels(PGD(steps=3), BUDGET, batch_size=16)
    monkeypatch.setattr("dermrobust.attacks.blocks._BATCHES_AT_ONCE", 1)
    asked = short_of_memory(monkeypatch, 5)

    found = few.attacked_pixels(PGD(steps=3), BUDGET, batch_size=16)

    # The blocks after the first begin with the size that fits.
    assert asked[:3] == [16, 8, 4]
    assert set(asked[3:]) <= {4}
    np.testing.assert_array_equal(found, expected)


def test_a_device_without_memory_for_one_image_is_an_error(few: Victim, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = short_of_memory(monkeypatch, 0)

    with pytest.raises(AttackError, match="the memory of the device is too small for one image"):
        few.attacked_images(PGD(steps=3), BUDGET, batch_size=16)
    assert asked == [16, 8, 4, 2, 1]
