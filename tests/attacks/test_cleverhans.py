"""FGSM and PGD are CleverHans's own, to the float; fast, deterministic and independent of how images are batched."""

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from cleverhans.tf2.attacks import projected_gradient_descent as published_pgd
from cleverhans.tf2.attacks.fast_gradient_method import fast_gradient_method
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from attacks.attack import Attack
from attacks.cleverhans.fgsm import FGSM
from attacks.cleverhans.pgd import PGD, random_start
from attacks.engine import attack_pixels, record_seeds
from attacks.registry import AnyAttack
from attacks.target import Target
from attacks.threat import Images, Pixels, ThreatModel
from models.classifier import attack_target
from tests.attacks.conftest import Victim
from tests.small_networks import CLASS_COUNT, accuracy, counting_calls, mean_loss, tiny_network

BUDGET = ThreatModel(4)
ATTACKS = (FGSM(), PGD(steps=5), PGD(steps=5, random_start=False))
every_attack = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: f"{attack.attack}")
steps_and_sizes = pytest.mark.parametrize(("steps", "step_size"), [(1, None), (3, 1.0), (10, None), (4, 100.0)])


def seeds_of(count: int) -> npt.NDArray[np.uint64]:
    return record_seeds([f"image{index}" for index in range(count)], attack="any", threat=BUDGET, seed=0)


def perturbed(attack: Attack, victim: Victim, threat: ThreatModel = BUDGET) -> Images:
    return attack.perturb(victim.target, victim.images, victim.labels, threat, seeds_of(len(victim.labels)))


def published(victim: Victim, steps: int, step_size: float, *, rand_init: bool) -> Images:
    """What CleverHans's PGD makes of the same images and labels."""
    return published_pgd.projected_gradient_descent(
        lambda images: victim.network(images, training=False),
        tf.constant(victim.images),
        BUDGET.radius,
        step_size / 255,
        steps,
        np.inf,
        clip_min=0.0,
        clip_max=1.0,
        y=tf.constant(victim.labels),
        rand_init=rand_init,
    ).numpy()


def step_length(step_size: float | None, steps: int) -> float:
    """In 1/255; CleverHans refuses steps that are longer than the budget."""
    return min(BUDGET.epsilon, step_size or 2.5 * BUDGET.epsilon / steps)


def test_fgsm_is_the_published_fast_gradient_method(few: Victim) -> None:
    expected = fast_gradient_method(
        lambda images: few.network(images, training=False),
        tf.constant(few.images),
        BUDGET.radius,
        np.inf,
        clip_min=0.0,
        clip_max=1.0,
        y=tf.constant(few.labels),
    )

    np.testing.assert_allclose(perturbed(FGSM(), few), expected, atol=1e-6)


@steps_and_sizes
def test_pgd_is_the_published_projected_gradient_descent(few: Victim, steps: int, step_size: float | None) -> None:
    attack = PGD(steps=steps, step_size=step_size, random_start=False)

    expected = published(few, steps, step_length(step_size, steps), rand_init=False)

    np.testing.assert_allclose(perturbed(attack, few), expected, atol=1e-6)


@steps_and_sizes
def test_from_the_same_random_start_pgd_is_the_published_one(
    few: Victim, steps: int, step_size: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = random_start(few.images, BUDGET, seeds_of(len(few.labels)))
    monkeypatch.setattr(published_pgd, "random_lp_vector", lambda *_, **__: tf.constant(start - few.images))

    expected = published(few, steps, step_length(step_size, steps), rand_init=True)

    np.testing.assert_allclose(perturbed(PGD(steps=steps, step_size=step_size), few), expected, atol=1e-6)


@given(st.integers(1, 255), st.integers(0, 2**64 - 1))
def test_a_random_start_is_inside_the_budget_and_drawn_from_its_seed(epsilon: int, seed: int) -> None:
    images = np.full((3, 16, 16, 3), 0.5, np.float32)
    threat = ThreatModel(epsilon)
    seeds = np.array([seed, seed, (seed + 1) % 2**64], np.uint64)

    starts = random_start(images, threat, seeds)

    distances = np.abs(starts - images)
    assert distances.max() <= threat.radius + 1e-6
    assert distances.max() > min(0.5, threat.radius) * 0.9  # uniform over all of the budget, not near its middle
    np.testing.assert_array_equal(starts[0], starts[1])
    assert (starts[0] != starts[2]).any()


@every_attack
def test_attacks_stay_in_the_budget_and_lower_accuracy(attack: Attack, victim: Victim) -> None:
    stored = attack_pixels(
        attack,
        victim.target,
        victim.pixels,
        victim.labels,
        seeds_of(len(victim.labels)),
        threat=ThreatModel(16),
        batch_size=32,
    )

    assert np.abs(stored.astype(int) - victim.pixels).max() <= 16
    assert accuracy(victim.network, victim.pixels, victim.labels) > 0.9
    assert accuracy(victim.network, stored, victim.labels) < 0.3


@pytest.mark.parametrize("random", [True, False])
def test_pgd_is_at_least_as_strong_as_fgsm(victim: Victim, random: bool) -> None:
    pgd = perturbed(PGD(steps=20, random_start=random), victim)

    losses = [mean_loss(victim.network, images, victim.labels) for images in (pgd, perturbed(FGSM(), victim))]

    assert losses[0] >= losses[1] > mean_loss(victim.network, victim.images, victim.labels)


@pytest.mark.parametrize("attack", ATTACKS[::2], ids=["fgsm", "pgd"])
def test_attacks_lead_away_from_the_label_that_is_given_not_from_the_prediction(attack: Attack, victim: Victim) -> None:
    others = (victim.labels + 1) % CLASS_COUNT
    target, images, seeds = victim.target, victim.images, seeds_of(len(others))

    from_others = attack.perturb(target, images, others, BUDGET, seeds)

    assert mean_loss(victim.network, from_others, others) > mean_loss(victim.network, images, others)
    from_truth = attack.perturb(target, images, victim.labels, BUDGET, seeds)
    assert mean_loss(victim.network, from_truth, victim.labels) > mean_loss(victim.network, from_others, victim.labels)


def attacked(attack: Attack, victim: Victim, chosen: npt.NDArray[np.int64], batch_size: int) -> Pixels:
    """Stored adversarial images of some images in some order."""
    return attack_pixels(
        attack,
        victim.target,
        victim.pixels[chosen],
        victim.labels[chosen],
        record_seeds([f"image{index}" for index in chosen], attack="any", threat=BUDGET, seed=0),
        threat=BUDGET,
        batch_size=batch_size,
    )


@every_attack
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_order_and_split_of_the_images_change_no_pixel(attack: Attack, victim: Victim, data: st.DataObject) -> None:
    count = len(victim.labels)
    expected = attacked(attack, victim, np.arange(count), 32)
    order = np.array(data.draw(st.permutations(range(count))))
    cut = data.draw(st.integers(0, count))

    parts = [attacked(attack, victim, part, 32) for part in (order[:cut], order[cut:])]

    np.testing.assert_array_equal(np.concatenate(parts), expected[order])


@every_attack
def test_the_size_of_a_batch_changes_no_pixel(attack: Attack, few: Victim) -> None:
    everything = np.arange(len(few.labels))
    expected = attacked(attack, few, everything, 32)

    for batch_size in (1, 7, 16, 100):
        np.testing.assert_array_equal(attacked(attack, few, everything, batch_size), expected)


def test_the_step_is_traced_once_for_all_steps_budgets_and_models_of_an_architecture(victim: Victim) -> None:
    target, calls = counting_calls(victim.target)
    other = Target(target.logits, attack_target(tiny_network(8, CLASS_COUNT, 1)).weights)
    seeds = seeds_of(len(victim.labels))

    for attack in (FGSM(), PGD(steps=1), PGD(steps=7, step_size=0.5), PGD(steps=2, random_start=False)):
        for threat in (ThreatModel(1), ThreatModel(2.5), ThreatModel(8)):
            for model in (target, other):
                attack.perturb(model, victim.images, victim.labels, threat, seeds)

    assert calls() == 1


@every_attack
def test_the_network_under_attack_is_in_inference_mode_and_stays_as_it_was(attack: Attack, victim: Victim) -> None:
    before = [variable.numpy() for variable in victim.network.variables]

    perturbed(attack, victim)

    for variable, value in zip(victim.network.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_an_attack_sees_the_present_weights_of_its_model(victim: Victim) -> None:
    """The compiled step is shared, the weights are not."""
    other = keras.models.clone_model(victim.network)
    images, labels, seeds = victim.images, victim.labels, seeds_of(len(victim.labels))
    of_other = FGSM().perturb(attack_target(other), images, labels, BUDGET, seeds)

    assert (of_other != perturbed(FGSM(), victim)).any()
    other.set_weights(victim.network.get_weights())
    again = FGSM().perturb(attack_target(other), images, labels, BUDGET, seeds)

    np.testing.assert_array_equal(again, perturbed(FGSM(), victim))


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"attack": "pgd", "steps": 0}, "steps"),
        ({"attack": "pgd", "steps": 10_001}, "steps"),
        ({"attack": "pgd", "step_size": 0}, "step_size"),
        ({"attack": "pgd", "step_size": 256}, "step_size"),
        ({"attack": "pgd", "random_start": "perhaps"}, "random_start"),
        ({"attack": "pgd", "iterations": 3}, "iterations"),
        ({"attack": "fgsm", "steps": 3}, "steps"),
        ({"attack": "no such attack"}, "attack"),
    ],
)
def test_a_wrong_parameter_is_refused_by_its_name(values: dict[str, object], place: str) -> None:
    with pytest.raises(ValidationError, match=place):
        TypeAdapter(AnyAttack).validate_python(values)


def test_parameters_cannot_be_changed_later() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        PGD().steps = 3
