"""Runs an attack over stored images: fixed batches in, 8-bit images inside the budget out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from attacks.attack import Attack, Labels, Seeds
from attacks.errors import AttackError
from attacks.target import Target
from attacks.threat import PIXEL_LEVELS, Pixels, ThreatModel


def to_images(pixels: Pixels) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return stored images as a network sees them: float32 in [0, 1]."""
    return pixels.astype(np.float32) / np.float32(PIXEL_LEVELS)


def record_seeds(image_ids: Sequence[str], *, attack: str, threat: ThreatModel, seed: int) -> Seeds:
    """Return a seed for each image from its id, the attack, the budget and the run's seed.

    A record then gets the same random start on whichever worker, in whichever batch, at whichever retry.
    """
    scope = f"{seed}/{attack}/{threat.norm}/{threat.epsilon:g}"
    digests = (hashlib.sha256(f"{scope}/{image_id}".encode()).digest() for image_id in image_ids)
    return np.asarray([int.from_bytes(digest[:8], "little") for digest in digests], dtype=np.uint64)


def attack_pixels(
    attack: Attack,
    target: Target,
    pixels: Pixels,
    labels: Labels,
    seeds: Seeds,
    *,
    threat: ThreatModel,
    batch_size: int,
) -> Pixels:
    """Attack stored images in batches of one fixed shape, so that nothing is compiled twice.

    Args:
        attack: the attack and its parameters.
        target: the classifier, attacked through its own gradients.
        pixels: uint8 [count, height, width, 3].
        labels: int64 [count], the true classes.
        seeds: uint64 [count].
        threat: the budget.
        batch_size: images a step; the last batch is filled up with copies of its first image.

    Returns:
        uint8 [count, height, width, 3], every image inside the budget after rounding to 8 bits.

    Raises:
        AttackError: the attack left its budget or returned something that is not finite.
    """
    adversarial = np.empty_like(pixels)
    for start in range(0, len(pixels), batch_size):
        chosen = slice(start, start + batch_size)
        clean = pixels[chosen]
        count = len(clean)
        index = np.concatenate([np.arange(count), np.zeros(batch_size - count, dtype=np.int64)])
        moved = attack.perturb(target, to_images(clean)[index], labels[chosen][index], threat, seeds[chosen][index])
        adversarial[chosen] = threat.to_pixels(moved[:count], clean)
    if not threat.contains(adversarial, pixels).all():
        raise AttackError(f"a stored adversarial image is outside the budget of {threat.epsilon:g}/255")
    return adversarial
