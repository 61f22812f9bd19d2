"""HopSkipJump: decisions alone, counted, and nearly as near as the boundary is."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from dermrobust.attacks.engine import attack_images
from dermrobust.attacks.fab import FAB
from dermrobust.attacks.hop_skip_jump import HopSkipJump
from dermrobust.attacks.hop_skip_jump_steps import hop_skip_jump
from dermrobust.attacks.logits import logits_of
from dermrobust.attacks.threat import Norm, ThreatModel
from tests.attacks.conftest import Victim
from tests.attacks.test_fab import linear_problem, minimal_distances
from tests.small_networks import counting_images

every_norm = pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])


@every_norm
def test_of_a_linear_classifier_it_comes_near_to_the_minimal_distance(norm: Norm) -> None:
    problem = linear_problem(norm)

    found, used = hop_skip_jump(problem, 6000, initial_samples=100, smallest_change=0.0)

    assert (logits_of(problem.target, found, 12).argmax(axis=1) != problem.labels).all()
    ratio = problem.threat.distance(found, problem.images) / minimal_distances(problem)
    assert ratio.min() >= 1 - 1e-4
    assert np.median(ratio) < (1.15 if norm is Norm.L2 else 1.5)
    assert used.max() <= 6000


@every_norm
def test_all_queries_are_counted_and_none_is_made_beyond_the_limit(norm: Norm, few: Victim) -> None:
    target, seen = counting_images(few.target)
    problem = dataclasses.replace(few.problem(ThreatModel(16) if norm is Norm.LINF else ThreatModel(150, norm)))

    _, used = hop_skip_jump(dataclasses.replace(problem, target=target), 400, initial_samples=40, smallest_change=1.0)

    assert seen() == used.sum()
    assert used.min() > 300 and used.max() <= 400


@every_norm
def test_more_queries_never_end_farther_and_it_needs_nothing_but_the_class(norm: Norm, few: Victim) -> None:
    def decide(weights: Any, images: Any) -> Any:
        return tf.one_hot(tf.argmax(few.target.logits(weights, images), axis=-1), 7)

    problem = few.problem(ThreatModel(255) if norm is Norm.LINF else ThreatModel(255 * 8, norm))
    deciding = dataclasses.replace(problem, target=dataclasses.replace(few.target, logits=decide))

    def distances(one: Any, queries: int) -> Any:
        found, _ = hop_skip_jump(one, queries, initial_samples=50, smallest_change=1.0)
        return problem.threat.distance(found, problem.images)

    several = [distances(deciding, queries) for queries in (100, 400, 1600)]

    assert (several[0] >= several[1]).all() and (several[1] >= several[2]).all()
    np.testing.assert_array_equal(several[1], distances(problem, 400))
    # White-box attacks come nearer than decisions alone.
    nearest = FAB(steps=30).perturb(dataclasses.replace(problem, stop_at_success=False))
    assert (problem.threat.distance(nearest, problem.images) <= several[2] * 1.02).all()
    assert np.median(several[2]) < 0.5 * np.median(several[0])


def test_a_wrong_image_is_left_alone_and_costs_one_query(few: Victim) -> None:
    wrong = dataclasses.replace(few.problem(ThreatModel(8)), labels=(few.labels + 1) % 7)

    found, used = hop_skip_jump(wrong, 500, initial_samples=20, smallest_change=1.0)

    np.testing.assert_array_equal(found, few.images)
    np.testing.assert_array_equal(used, 1)


def test_it_attacks_a_model_without_gradients(few: Victim) -> None:
    def blind(weights: Any, images: Any) -> Any:
        return tf.numpy_function(lambda some: few.logits(some), [images], tf.float32)

    target = dataclasses.replace(few.target, logits=blind)
    attack = HopSkipJump(queries=600, initial_samples=40)

    found = attack_images(attack, target, few.images, few.labels, few.seeds, threat=ThreatModel(24))

    assert few.robust(found).mean() < 0.7
