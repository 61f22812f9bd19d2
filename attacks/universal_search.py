"""Search for a universal perturbation."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import tensorflow as tf
from cleverhans.tf2.utils import clip_eta, optimize_linear

from dermrobust.attacks.cleverhans.gradient_step import loss_gradient
from dermrobust.attacks.logits import in_scope, logits_of
from dermrobust.attacks.perturbation import Perturbation, perturbed
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.target import LogitsFn
from dermrobust.attacks.threat import Norm


@functools.lru_cache(maxsize=16)
def _compiled(logits: LogitsFn, slack: float, norm: Norm, targeted: bool) -> Any:
    """Return (weights, image [1, …], class [1], perturbation, radius, bounds [2], step size) -> perturbation."""

    @tf.function(reduce_retracing=True, autograph=False)
    @in_scope
    def added(
        weights: Any, image: Any, classes: Any, perturbation: Any, radius: Any, bounds: Any, step_size: Any
    ) -> Any:
        # One image at a time, as published: the step of each depends on the perturbation after the one before.
        moved = tf.clip_by_value(image + perturbation, bounds[0], bounds[1])
        gradient, success = loss_gradient(logits, weights, moved, classes, targeted=targeted, slack=slack)
        step = tf.where(success[0], 0.0, 1.0) * optimize_linear(gradient, step_size, norm.order)
        return clip_eta(perturbation + step, norm.order, radius)

    return added


def best_perturbation(
    problem: Problem, order: np.random.Generator, *, passes: int, step_size: float, enough: float
) -> Perturbation:
    """Return the perturbation that misled the most images at the end of a pass over them.

    Args:
        problem: images to mislead.
        order: draws the order of the images in each pass.
        passes: maximum number of passes.
        step_size: length of the step of one image, on the scale of the images.
        enough: fraction of misled images at which the search ends.
    """
    threat = problem.threat
    added = _compiled(problem.target.logits, problem.target.slack, threat.norm, problem.targeted)
    images, classes = tf.constant(problem.images), tf.constant(problem.classes)
    bounds = (threat.bounds.lower, threat.bounds.upper)
    constants = [tf.constant(value, tf.float32) for value in (threat.radius, bounds)]
    current = tf.zeros((1, *problem.images.shape[1:]))
    best, best_rate = np.zeros(problem.images.shape[1:], np.float32), -1.0
    for _ in range(passes):
        for index in order.permutation(len(problem.images)):
            one = slice(index, index + 1)
            current = added(
                problem.target.weights, images[one], classes[one], current, *constants, tf.constant(step_size)
            )
        # The rate does not rise monotonically, so the best of all passes is kept.
        rate = _success_rate(problem, current.numpy()[0])
        if rate > best_rate:
            best, best_rate = current.numpy()[0], rate
        if rate >= enough:
            break
    return best


def _success_rate(problem: Problem, perturbation: Perturbation) -> float:
    predicted = logits_of(problem.exactly().target, perturbed(problem, perturbation), problem.batch_size).argmax(axis=1)
    return float(np.mean((predicted == problem.classes) == problem.targeted))
