"""Copies of an image and shared lesions are found across splits, and nothing else is."""

import csv
import io
import itertools
import operator
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from dermrobust.attacks.threat import Pixels
from dermrobust.components.artifacts import Artifact, ArtifactType
from dermrobust.components.component import Context
from dermrobust.components.evaluation.leakage import Leakage, NearDuplicate
from dermrobust.components.examples import (
    SPEC,
    Batch,
    ExamplesSpec,
    Split,
    encode,
    encode_pixels,
    shard_name,
)
from dermrobust.components.leakage import executor
from dermrobust.components.leakage.component import LEAKAGE, LeakageParams
from dermrobust.components.leakage.copies import MAX_DISTANCE, MIN_CORRELATION, correlations, near_hashes
from dermrobust.components.leakage.executor import near_duplicates
from dermrobust.components.leakage.fingerprints import Fingerprints, perceptual_hashes, thumbnails
from dermrobust.models.preprocessing import Preprocessing
from dermrobust.models.task import Task
from dermrobust.models.tasks.ham10000 import TASK
from tests.datasets import draw

HAM10000 = Path(os.environ.get("HAM10000_DIR") or Path(__file__).resolve().parents[4] / "shared" / "data" / "ham10000")
SIZE = 64
Edit = Callable[[Image.Image], Image.Image]
Record = tuple[str, str, Pixels]
"""Image id, lesion id, uint8 [size, size, 3]."""


def lesion(seed: int, size: int = SIZE) -> Pixels:
    """A dark blob in the middle of pale skin, as lesions look; only the texture is its own."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    blob = 1 / (1 + np.exp((np.hypot(y, x) - 0.25) * 30))[..., np.newaxis]
    coarse = Image.fromarray(random.integers(0, 256, (12, 12), dtype=np.uint8)).resize(
        (size, size), Image.Resampling.BICUBIC
    )
    texture = np.asarray(coarse, float)[..., np.newaxis] - 128
    return np.clip((210, 170, 150) - blob * (110, 110, 90) + texture * 0.15, 0, 255).astype(np.uint8)


def write_shard(path: Path, records: Sequence[Record]) -> str:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for image_id, lesion_id, pixels in records:
            names = {"image/id": image_id, "lesion/id": lesion_id, "dx": "nv"}
            writer.write(encode({**names, "label": 0, "image/encoded": encode_pixels(pixels)}))
    return str(path)


def records(split: str, seeds: Sequence[int]) -> list[Record]:
    return [(f"{split}_{seed}", f"L{seed}", lesion(seed)) for seed in seeds]


def fingerprints(images: Sequence[Pixels], image_ids: Sequence[str] | None = None) -> Fingerprints:
    """Of images without lesions."""
    names = list(image_ids or map(str, range(len(images))))
    columns = {"image/id": names, "lesion/id": [""] * len(images)}
    return Fingerprints.of(Batch(np.stack(images), np.zeros(len(images), np.int64), columns), TASK.group_key)


def copies(one: Fingerprints, other: Fingerprints) -> list[NearDuplicate]:
    return list(near_duplicates(Split.TRAIN, one, Split.TEST, other))


def found_in(root: Path, shards: Mapping[Split, Sequence[Sequence[Record]]], task: Task = TASK) -> Leakage:
    """What the component finds in examples of these shards."""
    examples = root / "examples"
    examples.mkdir(exist_ok=True)
    shards = {split: shards.get(split, ()) for split in Split}
    for split, parts in shards.items():
        for index, part in enumerate(parts):
            write_shard(examples / shard_name(split, index, len(parts)), part)
    spec = ExamplesSpec(
        task=task,
        preprocessing=Preprocessing(image_size=SIZE),
        counts={split: sum(map(len, parts)) for split, parts in shards.items()},
        class_counts={split: (0,) * len(task.class_names) for split in shards},
        shards={split: len(parts) for split, parts in shards.items()},
        lengths={split: [len(part) for part in parts] for split, parts in shards.items()},
    )
    (examples / SPEC).write_text(spec.model_dump_json())
    source = Artifact(ArtifactType.EXAMPLES, "f", "d", str(examples))
    output = Artifact(ArtifactType.LEAKAGE, "f", "d", str(root / "leakage"))
    LEAKAGE.execute(Context(LeakageParams(), {"examples": (source,)}, {"leakage": output.uri}, str(root / "work")))
    return Leakage.read(output)


def jpeg(quality: int) -> Edit:
    def edit(image: Image.Image) -> Image.Image:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        return Image.open(buffer).convert("RGB")

    return edit


def exposed(gain: float) -> Edit:
    return lambda image: image.point(lambda value: min(255, round(value * gain)))


def resized(size: int) -> Edit:
    return lambda image: image.resize((size, size), Image.Resampling.BICUBIC).resize(image.size)


EXACT: Mapping[str, Edit] = {
    "nothing": lambda image: image,
    **{method.name.lower(): operator.methodcaller("transpose", method) for method in Image.Transpose},
}
ORIENTATIONS = (
    *("nothing", "flip_left_right", "flip_top_bottom", "rotate_180"),
    *("transpose", "rotate_270", "rotate_90", "transverse"),
)
EDITS: Mapping[str, Edit] = {
    **EXACT,
    "jpeg": jpeg(60),
    "brighter": exposed(1.1),
    "darker": exposed(0.8),
    "smaller": resized(48),
    "gray": lambda image: image.convert("L").convert("RGB"),
    "all at once": lambda image: jpeg(75)(exposed(0.9)(image.transpose(Image.Transpose.ROTATE_90))),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_copy_is_found_among_look_alikes(edit: str) -> None:
    originals = [lesion(seed) for seed in range(30)]
    others = [lesion(seed) for seed in range(100, 130)]
    copy = np.asarray(EDITS[edit](Image.fromarray(originals[17])))
    train = fingerprints(originals, [f"train_{index}" for index in range(30)])
    test = fingerprints([*others, copy], [*(f"test_{index}" for index in range(30)), "copy"])

    (found,) = copies(train, test)

    assert (found.first, found.first_split, found.second, found.second_split) == ("train_17", "train", "copy", "test")
    assert MIN_CORRELATION <= found.correlation <= 1
    assert found.distance <= (0 if edit in EXACT else MAX_DISTANCE)


def test_shards_are_read_and_every_pair_of_splits_is_compared(tmp_path: Path) -> None:
    train, validation, test = (
        records("train", range(8)),
        records("validation", range(20, 25)),
        records("test", range(40, 46)),
    )
    test[2] = ("test_x", "L42", train[5][2])
    validation[1] = ("validation_x", "L3", lesion(77))
    test[0] = ("test_y", "L40", validation[4][2])
    found = found_in(
        tmp_path, {Split.TRAIN: [train[:3], train[3:]], Split.VALIDATION: [validation], Split.TEST: [test, []]}
    )

    assert found.images == {Split.TRAIN: 8, Split.VALIDATION: 5, Split.TEST: 6}
    assert found.shared_groups == ("L3",)
    assert [(pair.first, pair.second, pair.distance) for pair in found.near_duplicates] == [
        ("train_5", "test_x", 0),
        ("validation_24", "test_y", 0),
    ]


@pytest.mark.parametrize("together", [1, 4, 100])
def test_nothing_depends_on_how_many_shards_are_compared_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    monkeypatch.setattr(executor, "_TOGETHER", together)
    train = [records("train", [seed, seed + 1]) for seed in range(0, 10, 2)]
    test = [records("test", range(seed, seed + 2)) for seed in (8, 20, 4)]

    found = found_in(tmp_path, {Split.TRAIN: train, Split.TEST: test})

    assert found.shared_groups == ("L4", "L5", "L8", "L9")
    assert sorted((pair.first, pair.second) for pair in found.near_duplicates) == [
        (f"train_{seed}", f"test_{seed}") for seed in (4, 5, 8, 9)
    ]


def test_copies_within_a_split_leak_nothing(tmp_path: Path) -> None:
    found = found_in(tmp_path, {Split.TRAIN: [[("a", "L0", lesion(0)), ("b", "L0", lesion(0))]]})

    assert (found.shared_groups, found.near_duplicates) == ((), ())


def test_images_without_a_lesion_id_share_no_lesion(tmp_path: Path) -> None:
    found = found_in(tmp_path, {Split.TRAIN: [[("a", "", lesion(0))]], Split.TEST: [[("b", "", lesion(1))]]})

    assert found.shared_groups == ()


def test_a_task_without_groups_is_searched_for_copies_alone(tmp_path: Path) -> None:
    task = Task(name="shapes", class_names=("round", "square"), class_key="dx")
    shards = {Split.TRAIN: [[("a", "L0", lesion(0))]], Split.TEST: [[("b", "L0", lesion(0)), ("c", "L0", lesion(1))]]}

    found = found_in(tmp_path, shards, task)

    assert found.shared_groups == ()
    assert [(pair.first, pair.second) for pair in found.near_duplicates] == [("a", "b")]


def test_splits_may_be_absent(tmp_path: Path) -> None:
    found = found_in(tmp_path, {Split.TEST: [records("test", range(3))]})

    assert found.images == {Split.TRAIN: 0, Split.VALIDATION: 0, Split.TEST: 3}
    assert found.near_duplicates == ()


def test_fingerprints_that_an_interrupted_execution_has_written_are_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = {Split.TRAIN: [records("train", range(3))], Split.TEST: [[("copy", "", lesion(1))]]}
    first = found_in(tmp_path, shards)

    def read_again(*_: object) -> None:
        raise AssertionError("a finished shard was read again")

    monkeypatch.setattr(executor, "read_shard", read_again)

    assert found_in(tmp_path, shards) == first


def test_images_that_show_nothing_are_no_copies() -> None:
    blank = np.full((SIZE, SIZE, 3), 200, np.uint8)

    assert copies(fingerprints([blank, blank // 2]), fingerprints([blank])) == []


def test_blobs_that_agree_but_for_their_texture_are_no_copies() -> None:
    first, second = thumbnails(np.stack([lesion(0), lesion(1)]))
    plain = np.corrcoef(first.astype(float).ravel(), second.astype(float).ravel())[0, 1]

    assert plain > 0.9
    assert correlations(first[np.newaxis], second[np.newaxis])[0] < 0.9
    assert correlations(first[np.newaxis], first[np.newaxis])[0] == pytest.approx(1.0)


def test_near_hashes_alone_make_no_copy() -> None:
    originals = np.stack([lesion(seed) for seed in range(20)])
    blended = np.rint(0.6 * originals + 0.4 * np.stack([lesion(seed) for seed in range(50, 70)])).astype(np.uint8)
    near = near_hashes(perceptual_hashes(originals), perceptual_hashes(blended))

    assert sum(len(block.first) for block in near)
    assert copies(fingerprints(list(originals)), fingerprints(list(blended))) == []


def test_the_exposure_of_an_image_is_not_in_its_hash() -> None:
    pixels = np.stack([lesion(seed) for seed in range(40)])

    np.testing.assert_array_equal(perceptual_hashes(pixels), perceptual_hashes(pixels + np.uint8(20)))


@pytest.mark.parametrize("size", (28, 32, 97, 224))
def test_hashes_and_thumbnails_have_one_size_whatever_that_of_the_images(size: int) -> None:
    pixels = np.stack([lesion(seed, size) for seed in range(3)])
    reference = np.stack([lesion(seed) for seed in range(3)])

    assert perceptual_hashes(pixels).shape == (3, 32)
    assert perceptual_hashes(pixels).dtype == np.uint8
    difference = np.bitwise_count(perceptual_hashes(pixels) ^ perceptual_hashes(reference)).sum(axis=1)
    assert (difference <= MAX_DISTANCE).all()
    np.testing.assert_allclose(thumbnails(pixels).mean((1, 2)), pixels.mean((1, 2)) @ (0.299, 0.587, 0.114), rtol=1e-3)


@pytest.mark.parametrize("edit", EXACT)
def test_a_turned_or_mirrored_copy_of_a_rectangle_is_found(edit: str) -> None:
    originals = [lesion(seed)[8:56] for seed in range(10)]
    copy = np.asarray(EXACT[edit](Image.fromarray(originals[4])))

    (found,) = copies(fingerprints(originals), fingerprints([copy], ["copy"]))

    assert (found.first, found.second, found.distance) == ("4", "copy", 0)


@given(pixels=arrays(np.uint8, (3, 28, 36, 3)))
@settings(max_examples=30)
def test_a_hash_is_the_same_alone_or_in_a_batch(pixels: Pixels) -> None:
    together = perceptual_hashes(pixels)

    np.testing.assert_array_equal(together, [perceptual_hashes(image[np.newaxis])[0] for image in pixels])


def turned_signs(signs: npt.NDArray[np.bool_]) -> Iterator[npt.NDArray[np.bool_]]:
    """Signs of frequencies [y, x] of an image in the 8 orientations: a mirror turns those of odd frequencies."""
    odd = np.arange(16) % 2 == 1
    for square in (signs, signs.T):
        for mirror_y, mirror_x in itertools.product((False, True), repeat=2):
            yield square ^ (mirror_y & odd[:, np.newaxis]) ^ (mirror_x & odd)


@given(
    hashes=arrays(np.uint8, st.tuples(st.integers(0, 8), st.just(32))),
    others=arrays(np.uint8, st.tuples(st.integers(0, 8), st.just(32))),
    limit=st.integers(0, 256),
)
@settings(max_examples=60)
def test_near_hashes_are_those_that_differ_in_few_bits(hashes: Pixels, others: Pixels, limit: int) -> None:
    signs, other_signs = (np.unpackbits(each, axis=1).reshape(-1, 16, 16).astype(bool) for each in (hashes, others))
    expected = {}
    for (i, one), (j, other) in itertools.product(enumerate(signs), enumerate(other_signs)):
        for orientation, turned in enumerate(turned_signs(other)):
            if (bits := int((one ^ turned).sum())) <= limit:
                expected[orientation, i, j] = bits

    found: dict[tuple[int, int, int], int] = {}
    for near in near_hashes(hashes, others, limit):
        for first, second, distance in zip(near.first, near.second, near.distance, strict=True):
            found[near.orientation, int(first), int(second)] = int(distance)

    assert found == expected


@pytest.mark.parametrize("edit", EXACT)
def test_orientations_of_hashes_are_those_of_images(edit: str) -> None:
    original = lesion(3)
    copy = np.asarray(EXACT[edit](Image.fromarray(original)))

    found = {
        near.orientation: near.distance.tolist()
        for near in near_hashes(perceptual_hashes(original[np.newaxis]), perceptual_hashes(copy[np.newaxis]), 8)
    }

    # The orientation in which the copy is the original again.
    expected = {"rotate_90": "rotate_270", "rotate_270": "rotate_90"}.get(edit, edit)
    assert found == {ORIENTATIONS.index(expected): [0]}


def test_near_hashes_are_found_in_every_block() -> None:
    random = np.random.default_rng(0)
    hashes = random.integers(0, 256, (150, 32), dtype=np.uint8)
    others = random.integers(0, 256, (17_000, 32), dtype=np.uint8)
    places = {0: 16_999, 63: 8191, 64: 8192, 149: 0}
    for first, second in places.items():
        others[second] = hashes[first]

    found = [
        pair
        for near in near_hashes(hashes, others, 40)
        for pair in zip(near.first.tolist(), near.second.tolist(), strict=True)
    ]

    assert sorted(found) == sorted(places.items())


def test_little_is_kept_of_an_image() -> None:
    kept = fingerprints([draw(seed, 224, 224) for seed in range(10)])

    assert kept.hashes.nbytes + kept.thumbnails.nbytes <= 10 * 600


@pytest.mark.ham10000
@pytest.mark.skipif(not (HAM10000 / "HAM10000_metadata.csv").is_file(), reason="HAM10000_DIR has no HAM10000")
def test_ham10000_has_one_copy_under_the_name_of_another_lesion() -> None:
    with (HAM10000 / "HAM10000_metadata.csv").open(newline="") as file:
        lesions = {row["image_id"]: row["lesion_id"] for row in csv.DictReader(file)}
    pair = ("ISIC_0025226", "ISIC_0030074")
    of_test = {lesion_id for lesion_id in lesions.values() if int(lesion_id[-1]) % 2} - {lesions[pair[0]]}
    of_test.add(lesions[pair[1]])
    kept: dict[Split, list[Fingerprints]] = {Split.TRAIN: [], Split.TEST: []}
    for archive in sorted(HAM10000.glob("HAM10000_images_part_*.zip")):
        with zipfile.ZipFile(archive) as images:
            for name in images.namelist():
                image_id = Path(name).stem
                if image_id in lesions:
                    image = Image.open(images.open(name)).convert("RGB")
                    left, side = (image.width - image.height) // 2, image.height
                    pixels = np.asarray(image.crop((left, 0, left + side, side)).resize((SIZE, SIZE)))[np.newaxis]
                    columns = {"image/id": [image_id], "lesion/id": [lesions[image_id]]}
                    split = Split.TEST if lesions[image_id] in of_test else Split.TRAIN
                    batch = Batch(pixels, np.zeros(1, np.int64), columns)
                    kept[split].append(Fingerprints.of(batch, TASK.group_key))
    train, test = (Fingerprints.joined(kept[split]) for split in (Split.TRAIN, Split.TEST))

    assert len(train.image_ids) + len(test.image_ids) == len(lesions)
    assert [(copy.first, copy.second) for copy in copies(train, test)] == [pair]
    assert not train.groups & test.groups
