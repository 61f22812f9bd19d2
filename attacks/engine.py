"""Engine that runs any attack on any number of images and validates its inputs and outputs."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from dermrobust.attacks.attack import Attack
from dermrobust.attacks.blocks import blocks, within_memory
from dermrobust.attacks.errors import AttackError, UserError
from dermrobust.attacks.logits import logits_of, succeeded
from dermrobust.attacks.problem import Labels, Problem, Seeds
from dermrobust.attacks.rounding import rounding_target
from dermrobust.attacks.target import Target
from dermrobust.attacks.threat import Bounds, Images, Pixels, ThreatModel
from dermrobust.attacks.universal import FixedPerturbation, Universal
from dermrobust.attacks.validation import check_counts, check_logits, check_problem, goals_of

_BYTES_AT_ONCE = 2**28
"""Size of the float32 images that are attacked together: 85 of 512 x 512 pixels. An attack holds a few copies."""


def to_images(pixels: Pixels) -> Images:
    """Return stored images as float32 images in [0, 1]."""
    return Bounds().to_images(pixels)


def record_seeds(image_ids: Sequence[str], *, attack: str, threat: ThreatModel, seed: int) -> Seeds:
    """Return a seed for each image: uint64 [count], from its id, the attack, the budget and the run's seed.

    An image then gets the same random start whatever worker, batch or retry attacks it.
    """
    # Attack and budget are part of it: random starts of two attacks would otherwise be the same points.
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
    """Return adversarial images that are not rounded to 8 bits.

    Args:
        attack: attack with its parameters.
        target: classifier, attacked through its own gradients.
        images: float32 [count, height, width, 3] within the threat model's bounds.
        labels: int64 [count], the true classes.
        seeds: uint64 [count].
        threat: budget and bounds.
        batch_size: number of images in a step.
        stop_at_success: leave an image once the classifier errs on it (or, with a goal, classifies it as the goal).
            Images on which it errs without an attack are returned unchanged. False: use the whole budget on all images.

    Returns:
        float32 [count, height, width, 3], inside the budget.

    Raises:
        UserError: the inputs cannot be attacked; nothing has been done.
        AttackError: the attack left its budget or returned values that are not finite.
    """
    problem = Problem(target, images, labels, threat, seeds, batch_size, stop_at_success)
    check_problem(attack, problem)
    result = np.empty_like(images)
    for block in blocks(images, batch_size, _BYTES_AT_ONCE):
        part = dataclasses.replace(problem.take(block), batch_size=batch_size)
        result[block], batch_size = _attacked(attack, part)
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
    """Return adversarial images as they are stored; in every step the classifier sees them rounded to 8 bits.

    Args:
        attack: see `attack_images`, also for the other arguments.
        target: classifier.
        pixels: uint8 [count, height, width, 3].
        labels: int64 [count].
        seeds: uint64 [count].
        threat: budget and bounds.
        batch_size: number of images in a step.
        stop_at_success: see `attack_images`.

    Returns:
        uint8 [count, height, width, 3], every image inside the budget after rounding to 8 bits.

    Raises:
        UserError: the inputs cannot be attacked; nothing has been done.
        AttackError: the attack left its budget or returned values that are not finite.
    """
    rounding, storable = rounding_target(target, threat.bounds), _storable(threat, pixels)
    check_counts(len(pixels), labels, seeds)
    adversarial = np.empty_like(pixels)
    for block in blocks(pixels, batch_size, _BYTES_AT_ONCE):
        clean = pixels[block]
        images = threat.bounds.to_images(clean)
        problem = Problem(rounding, images, labels[block], storable, seeds[block], batch_size, stop_at_success)
        check_problem(attack, problem)
        # Attacked under the storable budget, checked under the real one: rounding uses up the difference.
        attacked, batch_size = _attacked(attack, problem)
        adversarial[block] = threat.to_pixels(attacked, clean)
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
    """Return an attack that adds the universal perturbation found on stored images; see `attack_pixels`.

    Raises:
        UserError: the inputs cannot be attacked; nothing has been done.
    """
    rounding, storable = rounding_target(target, threat.bounds), _storable(threat, pixels)
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


def _attacked(attack: Attack, problem: Problem) -> tuple[Images, int]:
    """Return adversarial images, and the batch size for which there was memory."""
    return within_memory(
        attack.name,
        lambda size: _attack_block(attack, dataclasses.replace(problem, batch_size=size)),
        batch_size=problem.batch_size,
        count=len(problem.images),
    )


def _attack_block(attack: Attack, problem: Problem) -> Images:
    """Return adversarial images of a validated problem; images that need no attack stay as they are."""
    # The exact model decides which images stand: an approximation may err where the model does not.
    logits = logits_of(problem.exactly().target, problem.images, problem.batch_size)
    check_logits(attack, problem, logits)
    goals = goals_of(attack, problem, logits)
    standing = np.ones(len(logits), bool)
    if goals is not None:
        problem = problem.with_goals(goals)
        standing &= goals != problem.labels
    # Images that are wrong without an attack count as broken anyway; one wrong answer of several says nothing.
    if problem.stop_at_success and attack.repeats == 1:
        predicted = logits.argmax(axis=1)
        standing &= predicted == problem.labels if goals is None else predicted != goals
    result = problem.images.copy()
    chosen = np.flatnonzero(standing)
    if len(chosen):
        part = problem.take(chosen)
        try:
            result[chosen] = _confirmed(attack, part, attack.perturb(part))
        except tf.errors.InvalidArgumentError as error:
            # TensorFlow's type for many errors; `logits.finite` writes this message.
            if "not finite" not in str(error):
                raise
            raise AttackError(f"{attack.name}: the model's logits became NaN or infinite under attack") from error
    # Clipping here would hide a wrong attack, so it is an error.
    problem.threat.check(result, problem.images)
    return result


def _confirmed(attack: Attack, problem: Problem, found: Images) -> Images:
    """Return images after a second attack, on the exact classifier, where it does not confirm a success."""
    if problem.target.exact is None or not problem.stop_at_success or attack.repeats > 1:
        return found
    exact = problem.exactly()
    missed = np.flatnonzero(~_reached(exact, found))
    if len(missed):
        # Only where the approximation took it for a success: elsewhere the attack used all its steps and failed.
        doubtful = missed[_reached(problem.take(missed), found[missed])]
        if len(doubtful):
            found[doubtful] = attack.perturb(exact.take(doubtful))
    return found


def _reached(problem: Problem, images: Images) -> npt.NDArray[np.bool_]:
    logits = tf.constant(logits_of(problem.target, images, problem.batch_size))
    classes, slack = tf.constant(problem.classes), problem.target.slack
    return np.asarray(succeeded(logits, classes, targeted=problem.targeted, slack=slack))
