"""Preprocessing: small 8-bit images, the same in every stage and in every run."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dermrobust.attacks.errors import UserError
from dermrobust.attacks.threat import Pixels
from dermrobust.components import raw_dataset, storage
from dermrobust.components.artifacts import Artifact, ArtifactType
from dermrobust.components.component import Context
from dermrobust.components.examples import ExamplesSpec, Split, read_shard, record_features, shard_uris
from dermrobust.components.preprocess import executor
from dermrobust.components.preprocess.component import PreprocessParams
from dermrobust.models.pixels import from_encoded, to_network_pixels
from dermrobust.models.preprocessing import Preprocessing
from dermrobust.models.tasks.ham10000 import TASK
from tests.datasets import draw, encoded, folder_params, ingest, metadata_rows, write_folder_data_set

SIZE = 16
FORMATS = ("PNG", "JPEG", "BMP", "GIF")
ROWS = [row | {"age": "" if index % 7 == 0 else row["age"]} for index, row in enumerate(metadata_rows())]
Record = dict[str, Any]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Photographs of many sizes and every format, in more shards than one."""
    folder = tmp_path_factory.mktemp("photographs")
    files = {
        f"{row['image_id']}.{FORMATS[index % 4].lower()}": encoded(
            draw(index, 18 + index, 70 - index), FORMATS[index % 4]
        )
        for index, row in enumerate(ROWS)
    }
    write_folder_data_set(folder / "raw", ROWS, files)
    return ingest(folder_params(folder / "raw", shard_size=20), folder).dataset


def preprocess(
    dataset: Artifact,
    output: Path,
    constancy: Literal["none", "shades_of_gray"] = "none",
    size: int | tuple[int, int] = SIZE,
) -> Artifact:
    context = Context(
        params=PreprocessParams(image_size=size, color_constancy=constancy),
        inputs={"dataset": (dataset,)},
        outputs={"examples": str(output / "examples")},
        work_folder=str(output / "work"),
    )
    executor.run(context)
    return Artifact(ArtifactType.EXAMPLES, "test", "test", str(output / "examples"))


@pytest.fixture(scope="module")
def examples(dataset: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return preprocess(dataset, tmp_path_factory.mktemp("examples"))


@pytest.fixture(scope="module")
def stored(examples: Artifact) -> dict[str, tuple[Split, Record]]:
    """Every stored record by its image id, with its split."""
    spec, found = ExamplesSpec.read(examples), {}
    for split in Split:
        for serialized in tf.data.TFRecordDataset(shard_uris(examples, spec, split)):
            features = tf.io.parse_single_example(serialized, record_features(spec.task))
            record = {name: value.numpy() for name, value in features.items()}
            found[record["image/id"].decode()] = (split, record)
    return found


@pytest.fixture(scope="module")
def photographs(dataset: Artifact) -> dict[str, tuple[Split, Record]]:
    """Every ingested record by its image id, with its split; the image still encoded."""
    folder = raw_dataset.folder(dataset)
    return {
        record["image"]["id"].decode(): (split, record)
        for split, counts in raw_dataset.shard_counts(folder).items()
        for index in range(len(counts))
        for record in raw_dataset.read_shard(folder, split, index).as_numpy_iterator()
    }


Stored = dict[str, tuple[Split, Record]]


def test_every_photograph_is_there_once_in_its_split(stored: Stored, photographs: Stored, examples: Artifact) -> None:
    assert {name: split for name, (split, _) in stored.items()} == {
        name: split for name, (split, _) in photographs.items()
    }
    assert sum(ExamplesSpec.read(examples).counts.values()) == len(stored) == len(ROWS)


def test_images_are_8_bit_png_of_the_size(stored: Stored) -> None:
    for _, record in stored.values():
        content = record["image/encoded"]
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        width, height, depth, color_type = content[16:20], content[20:24], content[24], content[25]
        assert int.from_bytes(width) == int.from_bytes(height) == SIZE
        assert (depth, color_type) == (8, 2), "8 bits, RGB"


def test_stored_pixels_are_those_that_serving_computes(stored: Stored, photographs: Stored) -> None:
    preprocessing = Preprocessing(image_size=SIZE)
    for name, (_, record) in stored.items():
        served = from_encoded(photographs[name][1]["image"]["encoded"], preprocessing)
        np.testing.assert_array_equal(tf.io.decode_png(record["image/encoded"]), served, err_msg=name)


def test_labels_and_metadata_are_unchanged(stored: Stored, photographs: Stored) -> None:
    for name, (_, record) in stored.items():
        before = photographs[name][1]
        assert record["lesion/id"] == before["lesion"]["id"]
        assert TASK.class_names[record["label"]] == record["dx"].decode()
        for field in ("label", "dx", "age_group", "sex", "localization"):
            assert record[field] == before[field]
        np.testing.assert_array_equal(record["age"], before["age"])
    assert sum(np.isnan(record["age"]) for _, record in stored.values()) == sum(not row["age"] for row in ROWS)


def test_the_counts_beside_the_shards_are_right(stored: Stored, examples: Artifact) -> None:
    spec = ExamplesSpec.read(examples)
    assert spec.class_names == TASK.class_names
    assert spec.preprocessing == Preprocessing(image_size=SIZE)
    assert spec.shards[Split.TRAIN] > 1
    for split in Split:
        labels = Counter(int(record["label"]) for found, record in stored.values() if found == split)
        assert spec.counts[split] == labels.total()
        assert spec.class_counts[split] == [labels[label] for label in range(len(TASK.class_names))]


def test_two_runs_give_identical_files(dataset: Artifact, examples: Artifact, tmp_path: Path) -> None:
    again = preprocess(dataset, tmp_path)
    assert list(storage.entries(again.uri)) == list(storage.entries(examples.uri))


def test_color_constancy_is_applied_and_recorded(dataset: Artifact, examples: Artifact, tmp_path: Path) -> None:
    corrected = preprocess(dataset, tmp_path, "shades_of_gray")
    spec = ExamplesSpec.read(corrected)
    assert spec.preprocessing == Preprocessing(image_size=SIZE, color_constancy="shades_of_gray")
    (first, *_), (other, *_) = (shard_uris(artifact, spec, Split.TEST) for artifact in (examples, corrected))
    assert Path(first).read_bytes() != Path(other).read_bytes()


def test_images_may_be_rectangles_of_up_to_512_pixels(dataset: Artifact, tmp_path: Path) -> None:
    made = preprocess(dataset, tmp_path, size=(384, 512))

    spec = ExamplesSpec.read(made)
    assert spec.preprocessing == Preprocessing(image_size=(384, 512))
    assert made.read_json("examples.json")["preprocessing"]["image_size"] == [384, 512]
    batch = next(read_shard(shard_uris(made, spec, Split.TEST)[0], spec.task))
    assert batch.pixels.shape[1:] == spec.preprocessing.input_shape == (384, 512, 3)


def test_an_interrupted_run_goes_on_from_its_finished_shards(
    dataset: Artifact, examples: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preprocess(dataset, tmp_path)
    unfinished = shard_uris(examples, ExamplesSpec.read(examples), Split.TRAIN)[-1].rpartition("/")[2]
    for path in (unfinished, f"counts/{unfinished}.json", "examples.json"):
        (tmp_path / "examples" / path).unlink()
    read: list[tuple[Split, int]] = []
    real = raw_dataset.shard_file

    def shard_file(uri: str, split: Split, index: int) -> str:
        read.append((split, index))
        return real(uri, split, index)

    monkeypatch.setattr(raw_dataset, "shard_file", shard_file)

    again = preprocess(dataset, tmp_path)

    assert len(read) == 1
    assert list(storage.entries(again.uri)) == list(storage.entries(examples.uri))


@pytest.mark.parametrize("damage", ["cut off", "changed", "another record"])
def test_a_damaged_shard_is_told_in_one_message(dataset: Artifact, tmp_path: Path, damage: str) -> None:
    copied = Artifact(dataset.type, "copied", "copied", str(tmp_path / "dataset"))
    shutil.copytree(dataset.uri, copied.uri)
    shard = Path(raw_dataset.shard_file(raw_dataset.folder(copied), Split.TEST, 0))
    content = bytearray(shard.read_bytes())
    if damage == "cut off":
        del content[-10:]
    elif damage == "changed":
        content[-10] ^= 1
    else:
        with tf.io.TFRecordWriter(str(shard)) as writer:
            writer.write(b"something else")
        content = bytearray(shard.read_bytes())
    shard.write_bytes(content)

    with pytest.raises(UserError, match=f"the shard '.*{shard.name}' is damaged: .*the same command makes it again"):
        preprocess(copied, tmp_path)


def test_a_shard_of_which_no_image_could_be_read_is_empty(tmp_path: Path) -> None:
    files = {f"{row['image_id']}.png": encoded(draw(index)) for index, row in enumerate(ROWS)}
    files[f"{ROWS[0]['image_id']}.png"] = b"no image"
    write_folder_data_set(tmp_path / "raw", ROWS, files)
    params = folder_params(tmp_path / "raw", shard_size=1, max_bad_fraction=0.5)

    made = preprocess(ingest(params, tmp_path).dataset, tmp_path)

    spec = ExamplesSpec.read(made)
    lengths = [length for split in Split for length in spec.lengths[split]]
    assert sorted(lengths)[:2] == [0, 1]
    assert sum(spec.counts.values()) == len(ROWS) - 1 == sum(lengths)


# The function that all stages share


def network_pixels(
    image: Pixels, size: int | tuple[int, int] = SIZE, constancy: Literal["none", "shades_of_gray"] = "none"
) -> Pixels:
    pixels: Pixels = to_network_pixels(image, Preprocessing(image_size=size, color_constancy=constancy)).numpy()
    return pixels


@settings(max_examples=25)
@given(height=st.integers(1, 90), width=st.integers(1, 90), size=st.integers(8, 40))
def test_any_photograph_becomes_a_square_of_the_size(height: int, width: int, size: int) -> None:
    pixels = network_pixels(draw(0, height, width), size)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (size, size, 3)


@settings(max_examples=25)
@given(height=st.integers(1, 90), width=st.integers(1, 90), size=st.tuples(*[st.integers(8, 40)] * 2))
def test_any_photograph_becomes_a_rectangle_of_the_size(height: int, width: int, size: tuple[int, int]) -> None:
    assert network_pixels(draw(0, height, width), size).shape == (*size, 3)


@pytest.mark.parametrize(
    ("height", "width", "rows", "columns"),
    [
        (12, 40, slice(None), slice(8, 32)),  # too wide for 8 : 16
        (40, 16, slice(16, 24), slice(None)),  # too high
        (20, 40, slice(None), slice(None)),
    ],
)
def test_the_largest_centered_region_of_the_aspect_ratio_is_kept(
    height: int, width: int, rows: slice, columns: slice
) -> None:
    image = draw(5, height, width)
    region = np.ascontiguousarray(image[rows, columns])
    assert region.shape[0] * 2 == region.shape[1]
    np.testing.assert_array_equal(network_pixels(image, (8, 16)), network_pixels(region, (8, 16)))


@pytest.mark.parametrize(
    ("given", "read"), [(32, 32), ([32, 48], (32, 48)), ((32, 32), 32), ([8, 1024], (8, 1024)), ([512], 512)]
)
def test_an_image_size_is_one_number_or_two(given: Any, read: int | tuple[int, int]) -> None:
    preprocessing = Preprocessing.model_validate({"image_size": given})

    assert preprocessing.image_size == read
    assert Preprocessing.model_validate_json(preprocessing.model_dump_json()) == preprocessing
    assert preprocessing.input_shape == (preprocessing.height, preprocessing.width, 3)
    assert (preprocessing.height, preprocessing.width) == (read if isinstance(read, tuple) else (read, read))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (7, "a side of an image has 8 to 1024 pixels; found 7"),
        (1025, "8 to 1024"),
        ([32, 7], r"8 to 1024 pixels; found \[32, 7\]"),
        ([32, 32, 3], r"expected one number for a square, or \[height, width\], in pixels; found \[32, 32, 3\]"),
        ([], "expected one number"),
        ("32", "expected one number"),
        (32.5, "expected one number"),
        (True, "expected one number"),
    ],
)
def test_another_image_size_is_refused(given: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message) as error:
        PreprocessParams.model_validate({"image_size": given})
    assert error.value.errors()[0]["loc"] == ("image_size",)


def test_the_schema_offers_both_forms_of_an_image_size() -> None:
    square, sides = PreprocessParams.model_json_schema()["properties"]["image_size"]["anyOf"]
    assert (square["type"], square["minimum"], square["maximum"]) == ("integer", 8, 1024)
    assert (sides["type"], sides["minItems"], sides["maxItems"]) == ("array", 2, 2)


def test_an_image_of_the_size_is_left_as_it_is() -> None:
    image = draw(3, SIZE, SIZE)
    np.testing.assert_array_equal(network_pixels(image), image)


@pytest.mark.parametrize(("height", "width"), [(16, 40), (40, 16)])
def test_the_crop_is_centred(height: int, width: int) -> None:
    image = draw(4, height, width)
    top, left = (height - 16) // 2, (width - 16) // 2
    np.testing.assert_array_equal(network_pixels(image), image[top : top + 16, left : left + 16])


def test_a_fine_checkerboard_becomes_gray() -> None:
    """Without antialiasing every third pixel would be taken, and the board stay as it is."""
    image = np.indices((3 * SIZE, 3 * SIZE)).sum(axis=0) % 2 * np.uint8(255)
    pixels = network_pixels(np.repeat(image[..., np.newaxis], 3, axis=2).astype(np.uint8))
    assert 115 <= pixels.min() <= pixels.max() <= 140


def channel_norms(pixels: Pixels) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The light as shades of gray estimates it: a Minkowski norm of each channel."""
    norms: np.ndarray[Any, np.dtype[np.float64]] = np.mean(pixels.astype(np.float64) ** 6, axis=(0, 1)) ** (1 / 6)
    return norms


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), cast=st.tuples(*[st.floats(0.5, 1.0)] * 3))
def test_shades_of_gray_removes_a_color_cast(seed: int, cast: tuple[float, float, float]) -> None:
    neutral = np.repeat(draw(seed, 40, 40)[..., :1] // 2, 3, axis=2)
    tinted = (neutral * np.asarray(cast)).astype(np.uint8)
    norms = channel_norms(network_pixels(tinted, constancy="shades_of_gray"))
    assert norms.max() / norms.min() < 1.02
    spread = network_pixels(tinted, constancy="shades_of_gray").astype(int)
    assert np.abs(spread - spread.mean(axis=2, keepdims=True)).max() <= 3, "gray under any light is gray"


def test_without_it_the_cast_stays() -> None:
    tinted = (np.repeat(draw(0, 40, 40)[..., :1], 3, axis=2) * np.array([1.0, 0.7, 0.5])).astype(np.uint8)
    norms = channel_norms(network_pixels(tinted))
    assert norms.max() / norms.min() > 1.9


def test_a_black_channel_is_left_black() -> None:
    image = draw(0, 20, 20)
    image[..., 2] = 0
    pixels = network_pixels(image, constancy="shades_of_gray")
    assert pixels[..., 2].max() == 0
    assert pixels[..., :2].max() > 0
