"""FAB finds the nearest misclassified image: known exactly for a linear classifier, bounded on a network."""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from dermrobust.attacks.attack import Attack
from dermrobust.attacks.autoattack import AutoPlus, AutoStandard
from dermrobust.attacks.cleverhans.pgd import PGD
from dermrobust.attacks.engine import attack_images
from dermrobust.attacks.errors import UserError
from dermrobust.attacks.fab import FAB, FABTargeted
from dermrobust.attacks.fab_step import _Plane, fast_adaptive_boundary, projection
from dermrobust.attacks.logits import logits_of
from dermrobust.attacks.minimizing import within_budget
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.selection import read_suite
from dermrobust.attacks.threat import Images, Norm, ThreatModel
from tests.attacks.conftest import Victim, seeds_of
from tests.small_networks import linear_target

every_norm = pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
WIDE = {Norm.LINF: ThreatModel(255), Norm.L2: ThreatModel(255 * 6, Norm.L2)}
CLASSES, SIDE = 4, 4


def linear_problem(norm: Norm, count: int = 12) -> Problem:
    target = linear_target(CLASSES, SIDE)
    images = np.random.default_rng(1).random((count, SIDE, SIDE, 3)).astype(np.float32)
    labels = logits_of(target, images, count).argmax(axis=1).astype(np.int64)
    return Problem(target, images, labels, WIDE[norm], seeds_of(count))


def distance_to_plane(image: npt.NDArray[Any], slope: npt.NDArray[Any], value: float, norm: Norm) -> float:
    """Shortest distance from an image to slope · shift + value = 0 inside of [0, 1], by a general-purpose solver."""
    low, high = -image, 1 - image
    if norm is Norm.LINF:
        size = slope.size
        # Variables: the shift and its largest absolute value.
        inside = np.block([[np.eye(size), -np.ones((size, 1))], [-np.eye(size), -np.ones((size, 1))]])
        found = optimize.linprog(
            np.r_[np.zeros(size), 1],
            A_ub=inside,
            b_ub=np.zeros(2 * size),
            A_eq=np.r_[slope, 0][None],
            b_eq=[-value],
            bounds=[*zip(low, high, strict=True), (0, None)],
        )
        return float(found.fun) if found.success else np.inf

    # The multiplier of the plane: the sum of the clipped moves changes monotonically with it.
    def miss(multiplier: float) -> float:
        return float(slope @ np.clip(multiplier * slope, low, high) + value)

    ends = sorted((0.0, -np.sign(value) * 1e4))
    if miss(ends[0]) * miss(ends[1]) > 0:
        return np.inf
    best = optimize.brentq(miss, *ends, xtol=1e-14)
    return float(np.linalg.norm(np.clip(best * slope, low, high)))


def minimal_distances(problem: Problem) -> npt.NDArray[np.float64]:
    """Distance of each image from the nearest decision boundary of a linear classifier within the bounds."""
    weights = np.asarray(problem.target.weights[0], np.float64)
    found = []
    for image, label in zip(
        problem.images.reshape(len(problem.images), -1).astype(np.float64), problem.labels, strict=True
    ):
        logits = (image - 0.5) @ weights
        others = [index for index in range(CLASSES) if index != label]
        found.append(
            min(
                distance_to_plane(
                    image, weights[:, other] - weights[:, label], logits[other] - logits[label], problem.threat.norm
                )
                for other in others
            )
        )
    return np.asarray(found)


@every_norm
@pytest.mark.parametrize("targeted", [False, True])
def test_of_a_linear_classifier_it_finds_the_minimal_distance(norm: Norm, targeted: bool) -> None:
    problem = linear_problem(norm)
    attack: Attack = FABTargeted(steps=60) if targeted else FAB(steps=60)

    found = attack_images(attack, problem.target, problem.images, problem.labels, problem.seeds, threat=problem.threat)

    wrong = logits_of(problem.target, found, len(found)).argmax(axis=1) != problem.labels
    assert wrong.all()
    expected = minimal_distances(problem)
    ratio = problem.threat.distance(found, problem.images) / expected
    assert ratio.min() >= 1 - 1e-4  # the distance is a lower bound
    if not targeted:
        # The targeted form keeps the image with the largest margin over the classes that it aims at.
        assert ratio.max() < 1.01


@every_norm
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_a_projection_is_the_shortest_way_to_a_plane_within_the_bounds(norm: Norm, data: st.DataObject) -> None:
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    image, slope = random.random(12), random.normal(0, 1, 12) * (random.random(12) < 0.8)
    value = data.draw(st.floats(-4, 4))

    plane = _Plane(tf.constant(slope.reshape(1, 2, 2, 3), tf.float32), tf.constant([value], tf.float32))
    shift = projection(tf.constant(image.reshape(1, 2, 2, 3), tf.float32), plane, 0.0, 1.0, norm).numpy().ravel()

    assert (image + shift).min() >= -1e-6
    assert (image + shift).max() <= 1 + 1e-6
    expected = distance_to_plane(image, slope, value, norm)
    missed = slope @ shift + value
    if np.isfinite(expected):
        assert abs(missed) < 1e-4
        assert np.linalg.norm(shift, norm.order) == pytest.approx(expected, abs=2e-4)
    else:
        # As near as the bounds allow.
        limits = np.where(slope * value < 0, 1 - image, -image) * (slope != 0)
        np.testing.assert_allclose(shift, limits, atol=1e-5)


def nearest(victim: Victim, threat: ThreatModel, steps: int = 40) -> Images:
    return fast_adaptive_boundary(victim.problem(threat, batch_size=32), steps, random_start=False)


@every_norm
def test_no_image_is_nearer_than_is_certain_and_none_much_farther_than_pgd_finds_one(norm: Norm, few: Victim) -> None:
    threat = ThreatModel(16) if norm is Norm.LINF else ThreatModel(150, norm)
    found = nearest(few, threat)
    distance = threat.distance(found, few.images) * 255

    assert not few.robust(found).any()
    bisected = np.full(len(distance), np.inf)
    for epsilon in np.linspace(threat.epsilon / 16, threat.epsilon, 16):
        attacked = few.attacked_images(PGD(steps=20), ThreatModel(float(epsilon), norm), stop_at_success=True)
        bisected = np.minimum(bisected, np.where(few.robust(attacked), np.inf, epsilon))
    # PGD's steps are a sixteenth of the range apart, so the true distance may be that much smaller.
    assert (distance <= bisected * 1.1).all()
    assert np.median(distance / bisected) < 1.0


def test_it_stops_where_an_error_lies_in_the_budget_and_stays_in_the_budget_elsewhere(few: Victim) -> None:
    distance = ThreatModel(1).distance(nearest(few, ThreatModel(16)), few.images) * 255
    threat = ThreatModel(float(np.median(distance)))

    full = few.robust(few.attacked_images(FAB(steps=40), threat, stop_at_success=True))
    np.testing.assert_array_equal(full[distance <= threat.epsilon * 0.999], False)
    targeted = few.robust(few.attacked_images(FABTargeted(steps=40), threat, stop_at_success=True))
    assert targeted.sum() <= full.sum()


def test_less_than_half_a_level_too_far_is_the_same_file_in_the_budget() -> None:
    clean = np.random.default_rng(2).integers(60, 190, (3, SIDE, SIDE, 3)).astype(np.uint8)
    levels = np.random.default_rng(3).uniform(-4.45, 4.45, clean.shape)
    problem = linear_problem(Norm.LINF, 3)
    problem = dataclasses.replace(problem, images=(clean / 255).astype(np.float32), threat=ThreatModel(4))

    moved = within_budget(problem, np.asarray((clean + levels) / 255, np.float32))

    np.testing.assert_array_equal(problem.threat.to_pixels(moved, clean), np.round(clean + levels))


def test_the_published_versions_of_autoattack_have_their_members_and_their_limits(few: Victim) -> None:
    (standard,), (plus,) = read_suite("auto-standard").values(), read_suite("auto-plus").values()

    described = [
        [part.model_dump(exclude={"goal", "targets", "initial_share"}) for part in one.parts]
        for one in (standard, plus)
    ]

    steps, once, five = {"steps": 100}, {"restarts": 1}, {"restarts": 5}
    square = {"attack": "square", "queries": 5000} | once
    assert described[0] == [
        {"attack": "apgd_ce"} | steps | once,
        {"attack": "apgd_t"} | steps,
        {"attack": "fab_t"} | steps | once,
        square,
    ]
    assert described[1] == [
        {"attack": "apgd_ce"} | steps | five,
        {"attack": "apgd_dlr"} | steps | five,
        {"attack": "fab"} | steps | five,
        square,
        {"attack": "apgd_t"} | steps,
        {"attack": "fab_t"} | steps | once,
    ]
    with pytest.raises(UserError, match="defined for linf only"):
        AutoPlus().check_threat(ThreatModel(100, Norm.L2))
    with pytest.raises(UserError, match="needs 4 classes"):
        AutoStandard().check_classes(3)
