"""Population of drawn lesions and photographs with the proportions of HAM10000.

Counts, repeated photographs and class proportions follow Tschandl et al. 2018 (arXiv 1803.10417): 10,015 images of
7,470 lesions. Ages, sexes and sites are plausible for the diagnosis, not copied from anyone.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

MIN_LESIONS = 8
"""Lesions of each class from 200 images on, so that train, validation and test can each hold some of every class."""

_MIN_IMAGES = 12
_UNKNOWN_SHARE = 0.006
_SEED_LIMIT = 2**63
_SHUFFLE_STREAM = 2**63


@dataclass(frozen=True)
class SyntheticRecord:
    """Description of one photograph: patient, lesion, and the two seeds from which it is drawn.

    Attributes:
        image_id: unique, `SYN_0000123`.
        lesion_id: shared by the photographs of one lesion, `SYN_L000045`.
        dx: diagnosis, one of akiec, bcc, bkl, df, mel, nv, vasc.
        age: years, a multiple of 5, or None where unknown.
        sex: male, female or unknown.
        localization: body site in the words of HAM10000.
        lesion_seed: what belongs to lesion and patient (shape, colors, skin), in [0, 2**63).
        image_seed: what belongs to the photograph (framing, light, hair, noise), in [0, 2**63).
    """

    image_id: str
    lesion_id: str
    dx: str
    age: float | None
    sex: str
    localization: str
    lesion_seed: int
    image_seed: int


@dataclass(frozen=True)
class _ClassProfile:
    images: int  # of the 10,015 of HAM10000
    repeats: tuple[float, float, float, float]  # fraction of lesions with 1, 2, 3, 4 images
    age_mean: float
    age_deviation: float
    male_share: float
    sites: Mapping[str, float]  # relative weights


@dataclass(frozen=True)
class _Lesion:
    dx: str
    age: float | None
    sex: str
    localization: str
    lesion_seed: int
    image_seeds: tuple[int, ...]


_SUNNY = {"face": 30.0, "back": 16, "upper extremity": 14, "lower extremity": 12, "chest": 7, "neck": 5, "scalp": 5}
_PROFILES = {
    "akiec": _ClassProfile(
        327, (0.66, 0.26, 0.07, 0.01), 67, 11, 0.64, {**_SUNNY, "hand": 8, "ear": 3, "trunk": 2, "unknown": 1}
    ),
    "bcc": _ClassProfile(
        514, (0.57, 0.30, 0.12, 0.01), 67, 12, 0.62, {**_SUNNY, "trunk": 8, "abdomen": 4, "ear": 2, "foot": 1}
    ),
    "bkl": _ClassProfile(
        1099, (0.62, 0.26, 0.11, 0.01), 65, 13, 0.57, {**_SUNNY, "trunk": 10, "abdomen": 7, "hand": 2, "unknown": 2}
    ),
    "df": _ClassProfile(
        115,
        (0.57, 0.30, 0.12, 0.01),
        52,
        13,
        0.45,
        {"lower extremity": 62, "upper extremity": 20, "back": 6, "trunk": 4, "abdomen": 4, "foot": 2, "hand": 2},
    ),
    "mel": _ClassProfile(
        1113,
        (0.40, 0.41, 0.17, 0.02),
        61,
        14,
        0.62,
        {"back": 30, "upper extremity": 18, "lower extremity": 17, "face": 10, "chest": 8, "abdomen": 7, "trunk": 4}
        | {"neck": 3, "scalp": 2, "foot": 2, "ear": 1, "acral": 0.4, "hand": 1},
    ),
    "nv": _ClassProfile(
        6705,
        (0.80, 0.165, 0.03, 0.005),
        46,
        15,
        0.51,
        {"lower extremity": 22, "back": 22, "trunk": 20, "abdomen": 13, "upper extremity": 9, "foot": 4, "chest": 3}
        | {"unknown": 2, "neck": 1, "face": 1, "genital": 0.7, "hand": 0.6, "scalp": 0.5, "ear": 0.3, "acral": 0.1},
    ),
    "vasc": _ClassProfile(
        142,
        (0.65, 0.26, 0.08, 0.01),
        51,
        19,
        0.48,
        {"trunk": 20, "back": 20, "lower extremity": 18, "upper extremity": 12, "abdomen": 12, "face": 8, "chest": 6}
        | {"foot": 2, "hand": 2, "acral": 1, "scalp": 1},
    ),
}
_HAM10000_IMAGES = sum(profile.images for profile in _PROFILES.values())


def sample_population(count: int, seed: int, *, balanced: bool = False) -> list[SyntheticRecord]:
    """Draw `count` photographs in random order; the same arguments give the same list.

    A lesion depends on (seed, class, its number in the class) alone, so a larger population repeats the lesions of a
    smaller one (under other ids) and adds to them.

    Args:
        count: number of photographs.
        seed: seed in [0, 2**63).
        balanced: whether all classes have the same number of photographs, and not the proportions of HAM10000.

    Raises:
        ValueError: negative count, or a seed outside [0, 2**63).
    """
    if count < 0:
        raise ValueError(f"synthetic: count must not be negative, got {count}")
    if not 0 <= seed < _SEED_LIMIT:
        raise ValueError(f"synthetic: seed must lie in [0, 2**63), got {seed}")
    lesions = [lesion for dx, images in _class_counts(count, balanced).items() for lesion in _lesions(dx, images, seed)]
    order = _generator(seed, _SHUFFLE_STREAM)
    lesions = [lesions[i] for i in _permutation(order, len(lesions))]
    views = [(number, image_seed) for number, lesion in enumerate(lesions) for image_seed in lesion.image_seeds]
    views = [views[i] for i in _permutation(order, len(views))]
    return [_record(i, number, lesions[number], image_seed) for i, (number, image_seed) in enumerate(views)]


def _class_counts(count: int, balanced: bool) -> dict[str, int]:
    """Images of each class; nv gives or takes the rest. With HAM10000's proportions no class starves."""
    if balanced:
        counts = dict.fromkeys(_PROFILES, count // len(_PROFILES))
        counts["nv"] += count - sum(counts.values())
        return counts
    floor = min(_MIN_IMAGES, count // 16)
    counts = {
        dx: max(floor, (2 * count * profile.images + _HAM10000_IMAGES) // (2 * _HAM10000_IMAGES))
        for dx, profile in _PROFILES.items()
    }
    counts["nv"] += count - sum(counts.values())
    return counts


def _lesions(dx: str, images: int, seed: int) -> Iterator[_Lesion]:
    """Lesions of one class that have `images` photographs together, and are at least `MIN_LESIONS` if that can be."""
    class_number = list(_PROFILES).index(dx)
    number = 0
    while images > 0:
        reserved = min(MIN_LESIONS - number - 1, images - 1)
        lesion = _lesion(dx, _generator(seed, class_number << 32 | number), most=images - max(0, reserved))
        yield lesion
        images -= len(lesion.image_seeds)
        number += 1


def _lesion(dx: str, rng: np.random.Generator, most: int) -> _Lesion:
    """Draw a lesion with at most `most` photographs."""
    profile = _PROFILES[dx]
    seeds = [int(value) for value in rng.integers(_SEED_LIMIT, size=1 + len(profile.repeats))]
    images = min(most, 1 + _draw(rng, profile.repeats))
    age = profile.age_mean + profile.age_deviation * float(rng.standard_normal())
    age_unknown, sex_unknown, male = rng.random(3)
    return _Lesion(
        dx=dx,
        age=None if age_unknown < _UNKNOWN_SHARE else min(85.0, max(5.0, 5.0 * round(age / 5.0))),
        sex="unknown" if sex_unknown < _UNKNOWN_SHARE else "male" if male < profile.male_share else "female",
        localization=list(profile.sites)[_draw(rng, list(profile.sites.values()))],
        lesion_seed=seeds[0],
        image_seeds=tuple(seeds[1 : 1 + images]),
    )


def _record(image_number: int, lesion_number: int, lesion: _Lesion, image_seed: int) -> SyntheticRecord:
    return SyntheticRecord(
        image_id=f"SYN_{image_number:07d}",
        lesion_id=f"SYN_L{lesion_number:06d}",
        dx=lesion.dx,
        age=lesion.age,
        sex=lesion.sex,
        localization=lesion.localization,
        lesion_seed=lesion.lesion_seed,
        image_seed=image_seed,
    )


def _generator(seed: int, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=np.array([seed, stream], dtype=np.uint64)))


def _draw(rng: np.random.Generator, weights: Sequence[float]) -> int:
    """Index drawn in proportion to `weights`."""
    bounds = list(accumulate(weights))
    return min(bisect(bounds, float(rng.random()) * bounds[-1]), len(bounds) - 1)


def _permutation(rng: np.random.Generator, length: int) -> list[int]:
    return [int(i) for i in np.argsort(rng.random(length), kind="stable")]
