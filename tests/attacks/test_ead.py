"""Elastic-net attack (Chen et al. 2018, arXiv 1709.04114): its iteration, its search, what it returns."""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dermrobust.attacks.ead import EAD
from dermrobust.attacks.ead_step import Descent, elastic_net
from dermrobust.attacks.errors import UserError
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.threat import Bounds, Images, Norm, ThreatModel
from tests.attacks.conftest import Victim
from tests.small_networks import counting_images, linear_target

Floats = npt.NDArray[np.float64]
DESCENT = Descent(steps=60, searches=8, learning_rate=0.03, initial_weight=0.05, threshold=0.002, confidence=0.0)


def linear_problem(class_count: int, seed: int, count: int = 3) -> tuple[Problem, Floats]:
    """Images of a linear classifier with the labels that it gives them, and its weights [values, class_count].

    Its logits are (image - 0.5) @ weights.
    """
    target = linear_target(class_count, seed=seed)
    weights = target.weights[0].numpy().astype(np.float64)
    images = np.random.default_rng(seed).uniform(0.2, 0.8, (count, 4, 4, 3)).astype(np.float32)
    labels = (centered(images) @ weights).argmax(axis=1)
    return Problem(target, images, labels, ThreatModel.parse("l1:48"), np.arange(count, dtype=np.uint64)), weights


def centered(images: Images) -> Floats:
    """Images as rows of values in [-0.5, 0.5]."""
    return images.reshape(len(images), -1).astype(np.float64) - 0.5


def reference(clean: Floats, label: int, weights: Floats, descent: Descent) -> Floats:
    """The algorithm of the paper, one image of a linear classifier, judged where its gradients are computed."""
    best, distance = clean, np.inf
    weight, least, most = descent.initial_weight, 0.0, 1e10
    for _ in range(descent.searches):
        current = previous = clean
        found = False
        for number in range(descent.steps):
            logits = current @ weights
            other = np.where(np.arange(len(logits)) == label, -np.inf, logits).argmax()
            if logits[other] > logits[label]:
                found = True
                if np.abs(current - clean).sum() < distance:
                    best, distance = current, np.abs(current - clean).sum()
            slope = 2 * (current - clean)
            if logits[label] > logits[other]:
                slope = slope + weight * (weights[:, label] - weights[:, other])
            moved = current - descent.learning_rate * np.sqrt(1 - number / descent.steps) * slope - clean
            shrunk = np.sign(moved) * np.maximum(np.abs(moved) - descent.threshold, 0)
            stepped = np.clip(clean + shrunk, -0.5, 0.5)
            current = np.clip(stepped + number / (number + 3) * (stepped - previous), -0.5, 0.5)
            previous = stepped
        if found:
            most = min(most, weight)
        else:
            least = max(least, weight)
        weight = (least + most) / 2 if most < 1e10 else 10 * weight
    return best


def shortest(clean: Floats, label: int, weights: Floats) -> float:
    """The least L1 distance to another class: the values with the steepest slopes go to a bound, one by one."""

    def towards(other: int) -> float:
        slope = weights[:, other] - weights[:, label]
        missing = -float(clean @ slope)
        room = np.where(slope > 0, 0.5 - clean, 0.5 + clean)
        length = 0.0
        for index in np.argsort(-np.abs(slope)):
            part = min(room[index], missing / abs(slope[index]))
            length, missing = length + part, missing - part * abs(slope[index])
            if missing <= 1e-12:
                return length
        return np.inf

    return min(towards(other) for other in range(weights.shape[1]) if other != label)


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 1000), class_count=st.integers(2, 4))
def test_it_is_the_algorithm_of_the_paper(seed: int, class_count: int) -> None:
    problem, weights = linear_problem(class_count, seed)

    lengths = problem.threat.distance(elastic_net(problem, DESCENT), problem.images)

    expected = [
        np.abs(reference(clean, label, weights, DESCENT) - clean).sum()
        for clean, label in zip(centered(problem.images), problem.labels, strict=True)
    ]
    # A margin that is zero but for rounding decides whether a weight succeeds.
    np.testing.assert_allclose(lengths, expected, rtol=1e-3, atol=1e-4)


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 1000))
def test_of_a_linear_classifier_it_comes_near_the_shortest_perturbation(seed: int) -> None:
    problem, weights = linear_problem(3, seed)

    found = elastic_net(problem, DESCENT._replace(steps=200))

    assert ((centered(found) @ weights).argmax(axis=1) != problem.labels).all()
    lengths = problem.threat.distance(found, problem.images)
    clean = centered(problem.images)
    least = np.array([shortest(*one, weights) for one in zip(clean, problem.labels, strict=True)])
    assert (lengths >= least * (1 - 1e-4)).all()
    assert (lengths <= 1.7 * least + 0.02).all()


def test_a_threshold_leaves_most_values_unchanged(few: Victim) -> None:
    def changed(beta: float) -> float:
        attack = EAD(steps=40, binary_search_steps=5, learning_rate=0.05, initial_const=0.1, beta=beta)
        return float((attack.perturb(few.problem(ThreatModel.parse("l1:12"))) != few.images).mean())

    assert changed(0.01) < changed(0.0) / 2


def test_images_are_misclassified_by_the_confidence_that_is_asked_for(few: Victim) -> None:
    found = elastic_net(few.problem(ThreatModel.parse("l1:30")), DESCENT._replace(initial_weight=1.0, confidence=1.5))

    logits = few.logits(found)
    truth = np.eye(logits.shape[1], dtype=bool)[few.labels]
    margin = np.where(truth, -np.inf, logits).max(axis=1) - logits[truth]
    moved = (found != few.images).any(axis=(1, 2, 3))
    assert moved.mean() > 0.8
    assert (margin[moved] > 1.5 - 1e-3).all()


def test_an_image_is_left_once_its_perturbation_is_in_the_budget(few: Victim) -> None:
    def run(*, stop: bool) -> tuple[Images, int]:
        target, evaluated = counting_images(few.target)
        problem = few.problem(ThreatModel.parse("l1:6"), batch_size=16, stop_at_success=stop)
        return elastic_net(dataclasses.replace(problem, target=target), DESCENT), evaluated()

    (whole, all_steps), (stopped, fewer) = run(stop=False), run(stop=True)

    assert fewer < all_steps / 2
    broken, broken_early = (few.predicted(found) != few.labels for found in (whole, stopped))
    threat = ThreatModel.parse("l1:6")
    np.testing.assert_array_equal(broken & (threat.distance(whole, few.images) <= 6), broken_early)
    assert (threat.distance(stopped, few.images)[broken_early] <= 6).all()


def test_the_scale_of_the_images_does_not_matter() -> None:
    problem, _ = linear_problem(3, 5)
    original = problem.target

    def logits(weights: Any, images: Any) -> Any:
        return original.logits(weights, images / 255)

    scaled = dataclasses.replace(
        problem,
        target=dataclasses.replace(original, logits=logits),
        images=problem.images * np.float32(255),
        threat=dataclasses.replace(problem.threat, bounds=Bounds(0.0, 255.0)),
    )

    np.testing.assert_allclose(elastic_net(scaled, DESCENT) / 255, elastic_net(problem, DESCENT), atol=1e-3)


def test_other_norms_are_refused() -> None:
    with pytest.raises(UserError, match="ead is defined for l1 only, not for linf"):
        EAD().check_threat(ThreatModel(4, Norm.LINF))
