"""Engine that runs a search on any number of stored images and validates its inputs and outputs."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from dermrobust.attacks.blocks import blocks, within_memory
from dermrobust.attacks.errors import AttackError, UserError
from dermrobust.attacks.logits import logits_of
from dermrobust.attacks.problem import Labels, Seeds
from dermrobust.attacks.rounding import rounding_target
from dermrobust.attacks.target import Target
from dermrobust.attacks.threat import Bounds, Pixels
from dermrobust.attacks.transforms.problem import Best, TransformProblem
from dermrobust.attacks.transforms.rendering import distances
from dermrobust.attacks.transforms.search import Search
from dermrobust.attacks.transforms.threat import TransformThreat
from dermrobust.attacks.transforms.transform import Values
from dermrobust.attacks.validation import are_probabilities, check_counts

_BYTES_AT_ONCE = 2**27
"""Size of the float32 images that are searched together; a search holds a few copies of them."""


@dataclass(frozen=True)
class Transformed:
    """Result of a search.

    Attributes:
        pixels: uint8 [count, height, width, 3], inside of the threat model.
        values: float32 [count, parameter], from which the images follow; see `rendering.distances`.
    """

    pixels: Pixels
    values: Values


def search_seeds(image_ids: Sequence[str], *, search: str, threat: TransformThreat, seed: int) -> Seeds:
    """Return a seed for each image: uint64 [count], from its id, the search's name, the threat and the run's seed."""
    digests = (hashlib.sha256(f"{seed}/{search}/{threat}/{image_id}".encode()).digest() for image_id in image_ids)
    return np.asarray([int.from_bytes(digest[:8], "little") for digest in digests], dtype=np.uint64)


def transform_pixels(
    search: Search,
    target: Target,
    pixels: Pixels,
    labels: Labels,
    seeds: Seeds,
    *,
    threat: TransformThreat,
    batch_size: int = 128,
    stop_at_success: bool = True,
) -> Transformed:
    """Return adversarial images of a threat model beyond a norm, as they are stored.

    Args:
        search: search with its parameters.
        target: classifier, attacked through its own gradients.
        pixels: uint8 [count, height, width, 3].
        labels: int64 [count], the true classes.
        seeds: uint64 [count].
        threat: threat model.
        batch_size: number of images in a call of the classifier.
        stop_at_success: leave an image once the classifier errs on it; images on which it errs without an attack are
            returned unchanged. False: return the worst image that the search finds.

    Returns:
        Images inside of the threat model, which was verified, and the parameters that prove it.

    Raises:
        UserError: the inputs cannot be attacked; nothing has been done.
        AttackError: the search left the threat model, or the logits are not finite under it.
    """
    _check(pixels, labels, seeds, threat, batch_size)
    # Gradients of an approximation would do, but a false success of it would end the search of an image.
    rounding = rounding_target(target.exact or target, Bounds())
    found = np.empty_like(pixels)
    values = np.empty((len(pixels), len(threat.transform.parameters)), np.float32)
    for block in blocks(pixels, batch_size, _BYTES_AT_ONCE):
        problem = TransformProblem(
            rounding, pixels[block], labels[block], threat, seeds[block], batch_size, stop_at_success
        )
        best, batch_size = _within_memory(search, problem)
        found[block], values[block] = best.pixels(np.arange(len(block))), best.values
        if distances(threat, found[block], pixels[block], values[block]).max() > 0:
            raise AttackError(f"{search.name}: a stored image is outside of {threat}")
    return Transformed(found, values)


def _within_memory(search: Search, problem: TransformProblem) -> tuple[Best, int]:
    """Return the result of a search, and the batch size for which there was memory."""
    return within_memory(
        search.name,
        lambda size: _searched(search, dataclasses.replace(problem, batch_size=size)),
        batch_size=problem.batch_size,
        count=len(problem.pixels),
    )


def _searched(search: Search, problem: TransformProblem) -> Best:
    logits = logits_of(problem.target, problem.images, problem.batch_size)
    if not np.isfinite(logits).all():
        raise UserError("the model's logits are not finite (NaN or infinity)")
    if problem.labels.min() < 0 or problem.labels.max() >= logits.shape[1]:
        raise UserError(f"labels must be 0 to {logits.shape[1] - 1}, the model's {logits.shape[1]} classes")
    if are_probabilities(logits):
        raise UserError("the model returns probabilities, not logits; give the model without its last softmax")
    best = Best(problem, problem.margins(problem.pixels, problem.labels))
    try:
        search.improve(problem, best)
    except tf.errors.InvalidArgumentError as error:
        if "not finite" not in str(error):
            raise
        raise AttackError(f"{search.name}: the model's logits became NaN or infinite under attack") from error
    best.confirm()
    return best


def _check(pixels: Pixels, labels: Labels, seeds: Seeds, threat: TransformThreat, batch_size: int) -> None:
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[-1] != 3 or not len(pixels):
        raise UserError(
            f"images under {threat} must be uint8 [count, height, width, 3], found {pixels.dtype} {list(pixels.shape)}"
        )
    if batch_size < 1:
        raise UserError(f"batch_size is {batch_size}; it must be 1 or more")
    check_counts(len(pixels), labels, seeds)
    try:
        threat.transform.check_size(pixels.shape[1], pixels.shape[2], threat.strength)
    except ValueError as error:
        raise UserError(str(error)) from None
