"""Runs any attack on any number of images: checks at both ends, and stored images inside the budget out."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from dermrobust.attacks.attack import Attack
from dermrobust.attacks.errors import AttackError, UserError
from dermrobust.attacks.logits import logits_of, succeeded
from dermrobust.attacks.problem import Labels, Problem, Seeds
from dermrobust.attacks.target import LogitsFn, Target
from dermrobust.attacks.threat import PIXEL_LEVELS, Bounds, Images, Pixels, ThreatModel
from dermrobust.attacks.universal import FixedPerturbation, Universal
from dermrobust.attacks.validation import check_counts, check_logits, check_problem, goals_of

_BATCHES_AT_ONCE = 16
"""Images that are held as float32 at a time: memory does not depend on how many there are."""


def to_images(pixels: Pixels) -> Images:
    """Return stored images as a network sees them: float32 in [0, 1]."""
    return Bounds().to_images(pixels)


def record_seeds(image_ids: Sequence[str], *, attack: str, threat: ThreatModel, seed: int) -> Seeds:
    """Return a seed for each image from its id, the attack, the budget and the run's seed.

    A record then gets the same random start on whichever worker, in whichever batch, at whichever retry.
    """
    scope = f"{seed}/{attack}/{threat.norm}/{threat.epsilon:g}"
    digests = (hashlib.sha256(f"{scope}/{image_id}".encode()).digest() for image_id in image_ids)
    return np.asarray([int.from_bytes(digest[:8], "little") for digest in digests], dtype=np.uint64)


def attack_images(
    attack: Attack,
    target: Target,
    images: Images,
    labels: Labels,
    seeds: Seeds,
    *,
    threat: ThreatModel,
    batch_size: int = 128,
    stop_at_success: bool = False,
) -> Images:
    """Attack images that are not rounded to 8 bits.

    Args:
        attack: the attack and its parameters.
        target: the classifier, attacked through its own gradients.
        images: float32 [count, height, width, 3] within the threat model's bounds.
        labels: int64 [count], the true classes.
        seeds: uint64 [count].
        threat: the budget.
        batch_size: images a step.
        stop_at_success: leave an image as soon as the classifier errs on it (or takes it for the goal); images on
            which it errs anyway are returned as they are. False: make the most of the budget on every image.

    Returns:
        float32 [count, height, width, 3], inside the budget.

    Raises:
        UserError: what was given cannot be attacked; nothing has been done.
        AttackError: the attack left its budget or returned something that is not finite.
    """
    problem = Problem(target, images, labels, threat, seeds, batch_size, stop_at_success)
    check_problem(attack, problem)
    result = np.empty_like(images)
    for start in range(0, len(images), batch_size * _BATCHES_AT_ONCE):
        block = np.arange(start, min(len(images), start + batch_size * _BATCHES_AT_ONCE))
        result[block] = _attack_block(attack, problem.take(block))
    return result


def attack_pixels(
    attack: Attack,
    target: Target,
    pixels: Pixels,
    labels: Labels,
    seeds: Seeds,
    *,
    threat: ThreatModel,
    batch_size: int = 128,
    stop_at_success: bool = False,
) -> Pixels:
    """Attack stored images; what the classifier is shown in every step is what would be stored.

    Args:
        attack: see `attack_images`, as for the arguments that are not listed.
        target: the classifier.
        pixels: uint8 [count, height, width, 3].
        labels: int64 [count].
        seeds: uint64 [count].
        threat: the budget.
        batch_size: images a step.
        stop_at_success: see `attack_images`.

    Returns:
        uint8 [count, height, width, 3], every image inside the budget after rounding to 8 bits.

    Raises:
        UserError: what was given cannot be attacked; nothing has been done.
        AttackError: the attack left its budget or returned something that is not finite.
    """
    rounding, storable = _rounding(target, threat.bounds), _storable(threat, pixels)
    check_counts(len(pixels), labels, seeds)
    adversarial = np.empty_like(pixels)
    for start in range(0, max(len(pixels), 1), max(batch_size, 1) * _BATCHES_AT_ONCE):
        block = slice(start, start + batch_size * _BATCHES_AT_ONCE)
        clean = pixels[block]
        images = threat.bounds.to_images(clean)
        problem = Problem(rounding, images, labels[block], storable, seeds[block], batch_size, stop_at_success)
        check_problem(attack, problem)
        adversarial[block] = threat.to_pixels(_attack_block(attack, problem), clean)
        if not threat.contains(adversarial[block], clean).all():
            raise AttackError(f"{attack.name}: a stored adversarial image is outside the budget of {threat}")
    return adversarial


def fit_universal(
    attack: Universal,
    target: Target,
    pixels: Pixels,
    labels: Labels,
    seeds: Seeds,
    *,
    threat: ThreatModel,
    batch_size: int = 128,
) -> FixedPerturbation:
    """Find a universal perturbation on stored images, and return the attack that adds it to any image.

    Raises:
        UserError: what was given cannot be attacked; nothing has been done.
    """
    rounding, storable = _rounding(target, threat.bounds), _storable(threat, pixels)
    images = threat.bounds.to_images(pixels)
    problem = Problem(rounding, images, labels, storable, seeds, batch_size)
    check_problem(attack, problem)
    logits = logits_of(problem.exactly().target, images, batch_size)
    check_logits(attack, problem, logits)
    goals = goals_of(attack, problem, logits)
    return FixedPerturbation(perturbation=attack.fit(problem if goals is None else problem.with_goals(goals)))


def _storable(threat: ThreatModel, pixels: Pixels) -> ThreatModel:
    if pixels.dtype != np.uint8:
        raise UserError(f"stored images must be uint8 (0 to 255), found {pixels.dtype}; see `attack_images` for others")
    try:
        return threat.storable(pixels[0].size if len(pixels) else 1)
    except ValueError as error:
        raise UserError(str(error)) from None


def _attack_block(attack: Attack, problem: Problem) -> Images:
    logits = logits_of(problem.exactly().target, problem.images, problem.batch_size)
    check_logits(attack, problem, logits)
    goals = goals_of(attack, problem, logits)
    open_ = np.ones(len(logits), bool)
    if goals is not None:
        problem = problem.with_goals(goals)
        open_ &= goals != problem.labels
    if problem.stop_at_success:
        predicted = logits.argmax(axis=1)
        open_ &= predicted == problem.labels if goals is None else predicted != goals
    result = problem.images.copy()
    chosen = np.flatnonzero(open_)
    if len(chosen):
        part = problem.take(chosen)
        try:
            result[chosen] = _confirmed(attack, part, attack.perturb(part))
        except tf.errors.InvalidArgumentError as error:
            if "not finite" not in str(error):
                raise
            raise AttackError(f"{attack.name}: the model's logits became NaN or infinite under attack") from error
    problem.threat.check(result, problem.images)
    return result


def _confirmed(attack: Attack, problem: Problem, found: Images) -> Images:
    """Let the classifier itself judge what an attack took for a success, and attack it itself where it disagrees."""
    if problem.target.exact is None or not problem.stop_at_success:
        return found
    exact = problem.exactly()
    missed = np.flatnonzero(~_reached(exact, found))
    if len(missed):
        doubtful = missed[_reached(problem.take(missed), found[missed])]
        if len(doubtful):
            found[doubtful] = attack.perturb(exact.take(doubtful))
    return found


def _reached(problem: Problem, images: Images) -> npt.NDArray[np.bool_]:
    logits = tf.constant(logits_of(problem.target, images, problem.batch_size))
    classes, slack = tf.constant(problem.classes), problem.target.slack
    return np.asarray(succeeded(logits, classes, targeted=problem.targeted, slack=slack))


def _rounding(target: Target, bounds: Bounds) -> Target:
    return dataclasses.replace(
        target,
        logits=_rounding_logits(target.logits, bounds),
        exact=None if target.exact is None else _rounding(target.exact, bounds),
        surrogates={name: _rounding(other, bounds) for name, other in target.surrogates.items()},
    )


@functools.lru_cache(maxsize=32)
def _rounding_logits(logits: LogitsFn, bounds: Bounds) -> LogitsFn:
    """Return logits of what an image becomes when it is stored in 8 bits, with gradients as if rounding were nothing.

    (A straight-through estimate, Bengio et al. 2013, arXiv 1308.3432.) An attack then aims at the file that will be
    handed in, and what it sees as a success is one after storage.
    """

    def rounded(images: tf.Tensor) -> tf.Tensor:
        if bounds == Bounds():
            return tf.round(images * PIXEL_LEVELS) / PIXEL_LEVELS
        levels = tf.round((images - bounds.lower) / bounds.width * PIXEL_LEVELS)
        return bounds.lower + levels / PIXEL_LEVELS * bounds.width

    def stored(weights: Sequence[tf.Tensor], images: tf.Tensor) -> tf.Tensor:
        return logits(weights, tf.grad_pass_through(rounded)(images))

    return stored
