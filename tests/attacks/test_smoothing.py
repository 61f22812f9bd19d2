"""Randomized smoothing: numbers, noise, votes, and attacks on the smoothed classifier."""

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dermrobust.attacks.cleverhans.pgd import PGD
from dermrobust.attacks.engine import attack_images
from dermrobust.attacks.errors import AttackError
from dermrobust.attacks.logits import logits_of
from dermrobust.attacks.smoothing.certificate import certify, largest_radius, lower_bound, predict
from dermrobust.attacks.smoothing.gaussian import Stream, gaussian_noise
from dermrobust.attacks.smoothing.smoothed import smoothed_target
from dermrobust.attacks.smoothing.voting import Voters
from dermrobust.attacks.target import Target
from dermrobust.attacks.threat import Norm, ThreatModel
from tests.attacks.conftest import Victim, seeds_of
from tests.small_networks import CLASS_COUNT, counting_calls, linear_target

SIGMA, ALPHA = 0.25, 0.001
IMAGE = (4, 4, 3)

trials = st.integers(1, 100_000)
errors = st.floats(1e-6, 0.2)


@settings(max_examples=40)
@given(n=trials, share=st.floats(0, 1), alpha=errors)
def test_the_bound_is_that_of_clopper_and_pearson(n: int, share: float, alpha: float) -> None:
    successes = round(share * n)
    expected = stats.binomtest(successes, n, alternative="greater").proportion_ci(1 - alpha, "exact").low

    found = lower_bound(np.asarray([successes]), np.asarray([n]), alpha)

    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-12)


@given(counts=st.lists(st.integers(0, 5000), min_size=2, max_size=7).filter(any), alpha=errors)
def test_a_prediction_needs_a_significant_lead(counts: list[int], alpha: float) -> None:
    found = predict(np.asarray([counts]), alpha)

    second, first = sorted(counts)[-2:]
    assert counts[found.classes[0]] == first
    p_value = stats.binomtest(first, first + second).pvalue
    if abs(p_value - alpha) > 1e-9:
        assert found.abstained[0] == (p_value > alpha)


def test_a_certificate_is_wrong_no_more_often_than_stated() -> None:
    random, n, alpha, runs = np.random.default_rng(0), 100, 0.05, 20_000
    for share in (0.51, 0.7, 0.99):
        draws = random.binomial(n, share, runs)
        votes = np.stack([draws, n - draws], axis=1)
        found = certify(np.tile([[1, 0]], (runs, 1)), votes, SIGMA, alpha)
        true_radius = SIGMA * stats.norm.ppf(share)
        assert (found.radius > true_radius).sum() <= stats.binom.ppf(0.9999, runs, alpha)
        assert (found.radius == 0).sum() == found.abstained.sum()
    # The estimate decides, not the votes that choose the class; and the class is theirs.
    other = certify(np.asarray([[0, 9]]), np.asarray([[100, 0]]), SIGMA, alpha)
    assert other.abstained[0] and other.classes[0] == 1
    most = certify(np.asarray([[9, 0]]), np.asarray([[100, 0]]), SIGMA, alpha)
    assert most.radius[0] == pytest.approx(largest_radius(100, SIGMA, alpha))


def noise(
    key: int, first: int, draws: int, shape: tuple[int, ...] = IMAGE, stream: Stream = Stream.CERTIFICATE
) -> npt.NDArray[np.float32]:
    place = (tf.constant(first, tf.int64), tf.constant(draws, tf.int64))
    drawn = gaussian_noise(tf.constant(key, tf.uint64), *place, shape, tf.constant(int(stream), tf.uint64))
    return np.asarray(drawn)


@pytest.mark.parametrize("shape", [IMAGE, (3, 5, 3)], ids=["whole groups", "part of a group"])
def test_a_draw_is_the_same_in_whatever_pieces(shape: tuple[int, ...]) -> None:
    whole = noise(7, 0, 3000, shape)

    np.testing.assert_array_equal(np.concatenate([noise(7, 0, 1, shape), noise(7, 1, 1999, shape)]), whole[:2000])
    np.testing.assert_array_equal(noise(7, 2000, 1000, shape), whole[2000:])
    assert stats.kstest(whole.ravel(), "norm").pvalue > 0.01
    for other in (noise(8, 0, 3000, shape), noise(7, 0, 3000, shape, Stream.ATTACK), noise(7, 3000, 3000, shape)):
        assert abs(np.corrcoef(whole.ravel(), other.ravel())[0, 1]) < 0.01


def test_votes_and_radii_of_a_linear_classifier_are_those_of_the_formula() -> None:
    target, calls = counting_calls(linear_target(2))
    images = np.random.default_rng(1).random((40, *IMAGE), np.float32)
    voters = Voters(target, 2, 0.5, batch_size=64)

    selection = voters.votes(images, seeds_of(40), draws=50)
    votes = voters.votes(images, seeds_of(40), draws=2000, first=50)

    assert calls() == 1
    normal = target.weights[0].numpy()[:, 1] - target.weights[0].numpy()[:, 0]
    distance = (images - 0.5).reshape(40, -1) @ normal / np.linalg.norm(normal)
    expected = stats.norm.cdf(distance / 0.5)
    error = np.sqrt(expected * (1 - expected) / 2000)
    assert (votes.sum(axis=1) == 2000).all()
    assert (np.abs(votes[:, 1] / 2000 - expected) < 4 * error + 1e-3).all()
    found = certify(selection, votes, 0.5, ALPHA)
    assert 0 < found.abstained.mean() < 0.5
    # The smoothed classifier of a linear one changes its class at the distance to the plane (Cohen et al. 2019).
    true = np.where(found.classes == 1, distance, -distance)
    assert (found.radius[~found.abstained] <= true[~found.abstained]).all()
    reach = largest_radius(2000, 0.5, ALPHA)
    assert found.radius[~found.abstained] == pytest.approx(np.minimum(true, reach)[~found.abstained], abs=0.15)


def test_votes_depend_on_the_seed_of_an_image_alone(few: Victim) -> None:
    def votes(victim: Victim, size: int) -> np.ndarray:
        return Voters(victim.target, CLASS_COUNT, SIGMA, size).votes(victim.images, victim.seeds, draws=100)

    whole = votes(few, 32)

    np.testing.assert_array_equal(votes(few.take(np.asarray([5, 2])), 32), whole[[5, 2]])
    assert (votes(dataclasses.replace(few, seeds=few.seeds + np.uint64(1)), 32) != whole).any()
    # Kernels for other batch sizes round logits differently, so that a vote between equals may move.
    assert np.abs(votes(few, 100) - whole).sum() <= 4
    assert (votes(few.take(np.asarray([0])), 7).sum(axis=1) == 100).all()


def test_logits_that_are_not_finite_are_an_error() -> None:
    broken = Target(lambda weights, images: tf.reduce_sum(images, axis=[1, 2]) / 0.0, ())

    with pytest.raises(AttackError, match="NaN or infinite under noise"):
        Voters(broken, 3, SIGMA).votes(np.ones((1, *IMAGE), np.float32), seeds_of(1), draws=5)


def test_a_smoothed_target_has_the_mean_probabilities_for_any_number_of_draws(few: Victim) -> None:
    for draws in (1, 3):
        shape = few.images.shape[1:]
        smoothed = smoothed_target(few.target, sigma=SIGMA, draws=draws, shape=shape, seed=4)
        noise, *_ = smoothed.weights
        logits = [few.logits(few.images + part) for part in np.asarray(noise)]
        expected = np.mean([tf.nn.softmax(each) for each in logits], axis=0)

        np.testing.assert_allclose(np.exp(logits_of(smoothed, few.images, 8)), expected, atol=1e-5)
        # Steps that were compiled for one number of draws must not meet another.
        attack_images(PGD(steps=1), smoothed, few.images, few.labels, few.seeds, threat=ThreatModel(50, Norm.L2))


def test_no_attack_crosses_a_certificate_more_often_than_stated(victim: Victim) -> None:
    """Each of the two statements, of CERTIFY and of PREDICT, is wrong with a probability of ALPHA at most."""
    voters = Voters(victim.target, CLASS_COUNT, SIGMA)
    selection = voters.votes(victim.images, victim.seeds, draws=50)
    votes = voters.votes(victim.images, victim.seeds, draws=1000, first=50)
    certificates = certify(selection, votes, SIGMA, ALPHA)
    assert certificates.abstained.mean() < 0.5
    smoothed = smoothed_target(victim.target, sigma=SIGMA, draws=8, shape=victim.images.shape[1:], seed=0)
    crossings = attacks = 0
    changed = {}
    for radius in (0.1, 0.2, 0.3, 0.45, 0.6, 2.0):
        threat = ThreatModel(255 * radius, Norm.L2)
        moved = attack_images(
            PGD(steps=10), smoothed, victim.images, certificates.classes, victim.seeds, threat=threat, batch_size=32
        )
        found = predict(voters.votes(moved, victim.seeds, draws=1000, stream=Stream.ATTACK), ALPHA)
        crossed = ~found.abstained & (found.classes != certificates.classes)
        within = certificates.radius > radius
        crossings, attacks = crossings + int((crossed & within).sum()), attacks + int(within.sum())
        changed[radius] = crossed.mean()

    assert attacks > 50
    assert crossings <= stats.binom.ppf(0.9999, attacks, 2 * ALPHA)
    # It is an attack: beyond the certificates it changes what the smoothed classifier says.
    assert changed[0.1] < changed[2.0] > 0.8
    assert dataclasses.replace(voters, sigma=0.0).votes(victim.images, victim.seeds, draws=3).max() == 3
