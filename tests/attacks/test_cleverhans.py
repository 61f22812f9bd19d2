"""Gradient attacks equal CleverHans's published ones, and its other attacks run on Keras 3."""

import dataclasses
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from cleverhans.tf2.attacks import projected_gradient_descent as published_pgd
from cleverhans.tf2.attacks.basic_iterative_method import basic_iterative_method
from cleverhans.tf2.attacks.carlini_wagner_l2 import CarliniWagnerL2 as PublishedCarliniWagner
from cleverhans.tf2.attacks.carlini_wagner_l2 import carlini_wagner_l2
from cleverhans.tf2.attacks.fast_gradient_method import fast_gradient_method
from cleverhans.tf2.attacks.momentum_iterative_method import momentum_iterative_method
from cleverhans.tf2.attacks.spsa import SPSAAdam as PublishedSPSAAdam
from cleverhans.tf2.attacks.spsa import spsa
from hypothesis import given
from hypothesis import strategies as st

from dermrobust.attacks.attack import Attack, TargetedAttack
from dermrobust.attacks.cleverhans.bim import BIM
from dermrobust.attacks.cleverhans.carlini_wagner import CarliniWagnerL2
from dermrobust.attacks.cleverhans.fgsm import FGSM
from dermrobust.attacks.cleverhans.keras3 import LabelledCarliniWagner, PerImageConstant, SPSAAdam, VariableAdam
from dermrobust.attacks.cleverhans.mim import MIM
from dermrobust.attacks.cleverhans.pgd import PGD
from dermrobust.attacks.cleverhans.spsa import SPSA
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.randomness import on_the_sphere, random_start
from dermrobust.attacks.threat import Bounds, Images, Norm, ThreatModel
from dermrobust.models.classifier import attack_target
from tests.attacks.conftest import Victim, assert_same
from tests.small_networks import CLASS_COUNT, linear_target, mean_loss

# A step in L2 divides by the length of the gradient, so rounding anywhere in it moves every value a little.
TOLERANCES = {Norm.LINF: 1e-6, Norm.L2: 1e-5}
BUDGETS = {Norm.LINF: ThreatModel(4), Norm.L2: ThreatModel(60, Norm.L2)}
every_norm = pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
steps_and_sizes = pytest.mark.parametrize(("steps", "step_size"), [(1, None), (3, 1.0), (10, None), (4, 1000.0)])


def perturbed(attack: Attack, victim: Victim, threat: ThreatModel) -> Images:
    return attack.perturb(victim.problem(threat))


def arguments(victim: Victim, norm: Norm) -> tuple[Any, ...]:
    """What CleverHans's functions start with: model, images, epsilon."""
    return (
        lambda images: victim.network(images, training=False),
        tf.constant(victim.images),
        BUDGETS[norm].radius,
    )


def common(victim: Victim) -> dict[str, object]:
    return {"clip_min": 0.0, "clip_max": 1.0, "y": tf.constant(victim.labels)}


def step_length(step_size: float | None, steps: int, threat: ThreatModel) -> float:
    """On images in [0, 1]; CleverHans refuses steps that are longer than the budget."""
    return min(threat.epsilon, step_size or 2.5 * threat.epsilon / steps) / 255


@every_norm
def test_fgsm_is_the_published_fast_gradient_method(few: Victim, norm: Norm) -> None:
    expected = fast_gradient_method(*arguments(few, norm), norm.order, **common(few))

    assert_same(perturbed(FGSM(), few, BUDGETS[norm]), expected, atol=TOLERANCES[norm])


@every_norm
@steps_and_sizes
def test_bim_is_the_published_basic_iterative_method(
    few: Victim, norm: Norm, steps: int, step_size: float | None
) -> None:
    length = step_length(step_size, steps, BUDGETS[norm])
    expected = basic_iterative_method(
        *arguments(few, norm), length, steps, norm.order, **common(few), sanity_checks=False
    )

    found = perturbed(BIM(steps=steps, step_size=step_size), few, BUDGETS[norm])

    assert_same(found, expected, atol=TOLERANCES[norm])


@every_norm
def test_where_pixels_are_black_or_white_bim_is_the_published_one(few: Victim, norm: Norm) -> None:
    stretched = dataclasses.replace(few, pixels=np.where(few.pixels > 128, 255, 0).astype(np.uint8))
    threat = ThreatModel(BUDGETS[norm].epsilon * 3, norm)
    model, images, _ = arguments(stretched, norm)
    expected = basic_iterative_method(
        model, images, threat.radius, threat.radius, 2, norm.order, **common(few), sanity_checks=False
    )

    found = perturbed(BIM(steps=2, step_size=threat.epsilon), stretched, threat)

    assert_same(found, expected, atol=1e-5)  # what clipping in another order gives is far more


@every_norm
@steps_and_sizes
def test_from_the_same_random_start_pgd_is_the_published_one(
    few: Victim, norm: Norm, steps: int, step_size: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = random_start(few.problem(BUDGETS[norm]))
    monkeypatch.setattr(published_pgd, "random_lp_vector", lambda *_, **__: tf.constant(start - few.images))
    length = step_length(step_size, steps, BUDGETS[norm])
    expected = published_pgd.projected_gradient_descent(
        *arguments(few, norm), length, steps, norm.order, **common(few), rand_init=True
    )

    found = perturbed(PGD(steps=steps, step_size=step_size), few, BUDGETS[norm])

    assert_same(found, expected, atol=TOLERANCES[norm])


@every_norm
@steps_and_sizes
@pytest.mark.parametrize("decay", [1.0, 0.5])
def test_mim_is_the_published_momentum_iterative_method(
    few: Victim, norm: Norm, steps: int, step_size: float | None, decay: float
) -> None:
    length = step_length(step_size, steps, BUDGETS[norm])
    expected = momentum_iterative_method(
        *arguments(few, norm), length, steps, norm.order, **common(few), decay_factor=decay
    )

    found = perturbed(MIM(steps=steps, step_size=step_size, decay=decay), few, BUDGETS[norm])

    assert_same(found, expected, atol=TOLERANCES[norm])


@every_norm
def test_towards_a_goal_pgd_is_the_published_targeted_one(few: Victim, norm: Norm) -> None:
    goals = (few.labels + 2) % CLASS_COUNT
    expected = published_pgd.projected_gradient_descent(
        *arguments(few, norm),
        step_length(None, 5, BUDGETS[norm]),
        5,
        norm.order,
        **{**common(few), "y": tf.constant(goals)},
        targeted=True,
        rand_init=False,
    )

    found = PGD(steps=5, random_start=False).perturb(few.problem(BUDGETS[norm]).with_goals(goals))

    assert_same(found, expected, atol=TOLERANCES[norm])


def test_on_other_bounds_fgsm_takes_the_same_step(few: Victim) -> None:
    """A network on images in [-1, 1] that first brings them to [0, 1] is the same network."""
    bounds = Bounds(-1.0, 1.0)
    shifted = few.problem(ThreatModel(4, bounds=bounds))
    target = shifted.target
    other = Problem(
        type(target)(lambda weights, images: target.logits(weights, (images + 1) / 2), target.weights),
        bounds.to_images(few.pixels),
        few.labels,
        shifted.threat,
        few.seeds,
    )

    expected = perturbed(FGSM(), few, BUDGETS[Norm.LINF])

    assert_same((FGSM().perturb(other) + 1) / 2, expected, atol=1e-6)


@given(st.integers(1, 255), st.integers(0, 2**64 - 1), st.sampled_from([Norm.LINF, Norm.L2]))
def test_a_random_start_is_inside_the_budget_and_drawn_from_its_seed(epsilon: int, seed: int, norm: Norm) -> None:
    images = np.full((3, 16, 16, 3), 0.5, np.float32)
    threat = ThreatModel(epsilon, norm)
    seeds = np.array([seed, seed, (seed + 1) % 2**64], np.uint64)
    problem = Problem(linear_target(), images, np.zeros(3, np.int64), threat, seeds)

    for start in (random_start, on_the_sphere):
        points = start(problem)

        distances = threat.distance(points, images)
        assert distances.max() <= threat.radius + 1e-6
        # Uniform over all of the budget, not near its middle.
        assert distances.min() > (0.9 if norm is Norm.LINF else 0.7) * min(0.5, threat.radius)
        np.testing.assert_array_equal(points[0], points[1])
        assert (points[0] != points[2]).any()


@pytest.mark.parametrize("random", [True, False])
def test_pgd_is_at_least_as_strong_as_fgsm(victim: Victim, random: bool) -> None:
    threat = BUDGETS[Norm.LINF]
    pgd = perturbed(PGD(steps=20, random_start=random), victim, threat)

    losses = [mean_loss(victim.network, images, victim.labels) for images in (pgd, perturbed(FGSM(), victim, threat))]

    assert losses[0] >= losses[1] > mean_loss(victim.network, victim.images, victim.labels)


@pytest.mark.parametrize("attack", [FGSM(), PGD(steps=5), MIM(steps=5)], ids=lambda attack: attack.attack)
def test_attacks_lead_away_from_the_label_that_is_given_not_from_the_prediction(attack: Attack, few: Victim) -> None:
    others = (few.labels + 1) % CLASS_COUNT
    problem = few.problem(BUDGETS[Norm.LINF])

    from_others = attack.perturb(Problem(few.target, few.images, others, problem.threat, few.seeds))

    assert mean_loss(few.network, from_others, others) > mean_loss(few.network, few.images, others)
    from_truth = attack.perturb(problem)
    assert mean_loss(few.network, from_truth, few.labels) > mean_loss(few.network, from_others, few.labels)


def test_an_attack_sees_the_present_weights_of_its_model(few: Victim) -> None:
    """The compiled step is shared, the weights are not."""
    threat = BUDGETS[Norm.LINF]
    other = keras.models.clone_model(few.network)

    def attacked() -> Images:
        return FGSM().perturb(Problem(attack_target(other), few.images, few.labels, threat, few.seeds))

    assert (attacked() != perturbed(FGSM(), few, threat)).any()
    other.set_weights(few.network.get_weights())

    np.testing.assert_array_equal(attacked(), perturbed(FGSM(), few, threat))


# Carlini & Wagner, and SPSA: CleverHans's own, with what they lack on Keras 3.


def test_the_published_carlini_wagner_attack_needs_its_adaptation(few: Victim) -> None:
    """When this fails, CleverHans or Keras has mended it: `attacks.cleverhans.keras3` is then to be removed."""
    model = arguments(few, Norm.L2)[0]

    with pytest.raises(TypeError, match="not callable"):  # `optimizer.variables()` is a property now
        carlini_wagner_l2(model, tf.constant(few.images), max_iterations=1)
    mended = PublishedCarliniWagner(model, batch_size=len(few.images), max_iterations=1)
    mended.optimizer = VariableAdam(0.1)
    with pytest.raises(ValueError, match=r"[Dd]imensions must be equal|[Ii]ncompatible shapes"):  # one constant a pixel
        mended.attack(tf.constant(few.images))


def test_the_published_spsa_needs_its_adaptation(few: Victim) -> None:
    """When this fails, CleverHans or Keras has mended it: `attacks.cleverhans.keras3` is then to be removed."""
    model, images, epsilon = arguments(few, Norm.LINF)

    with pytest.raises(ValueError, match="lr"):
        spsa(model, images[:1], tf.constant(few.labels[:1]), epsilon, 1, clip_min=0.0, clip_max=1.0)


def test_the_adapted_spsa_optimizer_has_all_that_the_published_one_sets() -> None:
    published = keras.optimizers.Adam.__new__(PublishedSPSAAdam)
    keras.optimizers.Adam.__init__(published, learning_rate=0.02)
    expected = {"_delta": 0.5, "_num_samples": 8, "_num_iters": 2, "_compare_to_analytic_grad": False}

    ours = SPSAAdam(0.02, 0.5, 16, 2)

    assert {name: getattr(ours, name) for name in expected} == expected
    assert (ours.beta_1, ours.beta_2, ours.epsilon) == (published.beta_1, published.beta_2, published.epsilon)
    assert ours.lr == 0.02


def test_the_variable_adam_is_the_adam_of_keras() -> None:
    random = np.random.default_rng(0)
    start = random.normal(size=(4, 3)).astype(np.float32)
    ours, theirs = tf.Variable(start), keras.Variable(start)
    optimizer, reference = VariableAdam(0.03), keras.optimizers.Adam(0.03)

    for _ in range(12):
        gradient = tf.constant(random.normal(size=(4, 3)).astype(np.float32))
        optimizer.apply_gradients([(gradient, ours)])
        reference.apply([gradient], [theirs])

        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-4, atol=1e-5)


def test_the_variable_adam_begins_anew_when_its_variables_are_set_to_zero_or_the_shape_changes() -> None:
    def steps(optimizer: VariableAdam, size: int) -> npt.NDArray[np.float32]:
        variable = tf.Variable(tf.zeros(size))
        for number in range(3):
            optimizer.apply_gradients([(tf.range(1.0, size + 1) * (number + 1), variable)])
        return variable.numpy()

    optimizer = VariableAdam(0.1)
    first = steps(optimizer, 4)
    assert (steps(optimizer, 4) != first).any()
    for variable in optimizer.variables():
        variable.assign(tf.zeros(variable.shape))

    np.testing.assert_array_equal(steps(optimizer, 4), first)
    np.testing.assert_array_equal(steps(optimizer, 5), steps(VariableAdam(0.1), 5))


def test_the_first_constant_is_one_number_for_each_image() -> None:
    constant = tf.ones((3, 8, 8, 3)) * PerImageConstant(0.25)

    np.testing.assert_array_equal(constant, [0.25, 0.25, 0.25])


def nearest(victim: Victim, classes: npt.NDArray[np.int64], *, targeted: bool, confidence: float = 0.0) -> Images:
    attack = LabelledCarliniWagner(
        lambda images: victim.network(images, training=False),
        initial_const=0.01,
        batch_size=len(classes),
        binary_search_steps=6,
        max_iterations=60,
        learning_rate=0.05,
        confidence=confidence,
        abort_early=False,
    )
    return np.asarray(attack.attack_batch(tf.constant(victim.images), classes, targeted=targeted))


def test_carlini_wagner_finds_nearer_errors_than_the_fast_gradient_method(few: Victim) -> None:
    found = nearest(few, few.labels, targeted=False)
    distance = ThreatModel(1, Norm.L2).distance(found, few.images)

    assert not few.robust(found).any()
    assert distance.min() > 0
    # They lie just behind the border: a little nearer, there is no error.
    assert few.robust(few.images + (found - few.images) * 0.9).mean() > 0.5
    budget = ThreatModel(float(np.median(distance)) * 255, Norm.L2)
    assert few.robust(perturbed(FGSM(), few, budget)).mean() >= 0.4


def test_carlini_wagner_leads_to_the_class_that_is_given(few: Victim) -> None:
    goals = (few.labels + 1) % CLASS_COUNT

    found = nearest(few, goals, targeted=True)

    np.testing.assert_array_equal(few.predicted(found), goals)


def test_a_batch_that_is_not_full_changes_no_image(few: Victim) -> None:
    attack = CarliniWagnerL2(steps=20, binary_search_steps=3, learning_rate=0.1)
    threat = ThreatModel.parse("l2:2")
    whole = attack.perturb(few.problem(threat, batch_size=16))

    for batch_size in (5, 100):
        np.testing.assert_allclose(attack.perturb(few.problem(threat, batch_size=batch_size)), whole, atol=1e-5)


def test_carlini_wagner_is_shortened_to_the_budget(few: Victim) -> None:
    attack = CarliniWagnerL2(steps=20, binary_search_steps=4, learning_rate=0.1)
    wide, narrow = (ThreatModel(epsilon, Norm.L2) for epsilon in (600, 20))
    free, short = (perturbed(attack, few, threat) for threat in (wide, narrow))

    distance = wide.distance(free, few.images)
    assert (distance > narrow.radius).any()
    np.testing.assert_allclose(
        narrow.distance(short, few.images), np.minimum(distance, narrow.radius), rtol=1e-4, atol=1e-6
    )


def test_a_margin_that_is_asked_for_is_found(few: Victim) -> None:
    plain, sure = (
        few.logits(CarliniWagnerL2(steps=60, confidence=margin).perturb(few.problem(ThreatModel.parse("l2:13"))))
        for margin in (0.0, 2.0)
    )

    def lead(logits: npt.NDArray[np.float32]) -> float:
        index = np.arange(len(logits))
        others = logits.copy()
        others[index, few.labels] = -np.inf
        return float((others.max(axis=1) - logits[index, few.labels]).mean())

    assert lead(sure) > lead(plain) + 0.5


def test_spsa_lowers_the_margin_without_gradients_and_by_its_seed(few: Victim) -> None:
    some = few.take(slice(4))
    attack: TargetedAttack = SPSA(steps=8, samples=32, learning_rate=0.05)
    threat = ThreatModel(16)

    found = perturbed(attack, some, threat)

    assert mean_loss(some.network, found, some.labels) > mean_loss(some.network, some.images, some.labels) + 0.5
    np.testing.assert_array_equal(found, perturbed(attack, some, threat))
    other = Problem(some.target, some.images, some.labels, threat, some.seeds + np.uint64(1))
    assert (attack.perturb(other) != found).any()
