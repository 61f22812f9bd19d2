"""The TFDS builders: TFDS's own test case for each, and what a user's files may look like."""

from __future__ import annotations

import csv
import math
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from dermrobust.attacks.errors import UserError
from dermrobust.components import raw_dataset
from dermrobust.components.examples import Split
from dermrobust.components.image_record import ImageRecord
from dermrobust.components.ingest import raw_content
from dermrobust.components.ingest.component import IngestParams
from dermrobust.components.ingest.datasets.builder import ImageConfig
from dermrobust.components.ingest.datasets.folder.builder import Folder
from dermrobust.components.ingest.datasets.folder.source import FolderSource
from dermrobust.components.ingest.datasets.ham10000.builder import Ham10000
from dermrobust.components.ingest.datasets.ham10000.source import Ham10000Source
from dermrobust.components.ingest.datasets.synthetic.builder import Synthetic
from dermrobust.components.ingest.datasets.synthetic.source import SyntheticSource
from dermrobust.components.ingest.file_images import FileImages
from dermrobust.models.tasks.ham10000 import TASK
from tests.datasets import (
    Ingested,
    Row,
    drawn_files,
    folder_params,
    ingest,
    metadata_rows,
    write_archive,
    write_files,
    write_folder_data_set,
    write_table,
)

ROWS = metadata_rows()


def write_release(folder: Path, *, unpacked: bool = False, tab: bool = False) -> None:
    """HAM10000's file layout, with drawn images."""
    folder.mkdir(parents=True, exist_ok=True)
    write_table(folder / f"HAM10000_metadata.{'tab' if tab else 'csv'}", ROWS, "\t" if tab else ",")
    files = list(drawn_files(ROWS, (".jpg",)).items())
    for part, members in ((1, files[:30]), (2, files[30:])):
        if unpacked:
            write_files(folder / f"HAM10000_images_part_{part}", dict(members))
        else:
            write_archive(folder / f"HAM10000_images_part_{part}.zip", dict(members))


class DrawnExamples(tfds.testing.DatasetBuilderTestCase):
    """TFDS's test case on examples that are drawn for it."""

    __test__ = False

    @classmethod
    def setUpClass(cls) -> None:
        cls.EXAMPLE_DIR = tempfile.mkdtemp()
        cls.write_examples(Path(cls.EXAMPLE_DIR))
        super().setUpClass()

    @classmethod
    def tearDownClass(cls) -> None:
        super().tearDownClass()
        shutil.rmtree(cls.EXAMPLE_DIR)

    @classmethod
    def write_examples(cls, folder: Path) -> None:
        raise NotImplementedError


class Ham10000Test(DrawnExamples):
    __test__ = True
    DATASET_CLASS = Ham10000
    SPLITS = {"train": 48, "validation": 8, "test": 4}

    @classmethod
    def write_examples(cls, folder: Path) -> None:
        write_release(folder)


class FolderTest(DrawnExamples):
    __test__ = True
    DATASET_CLASS = Folder
    SPLITS = {"train": 48, "validation": 8, "test": 4}

    @classmethod
    def write_examples(cls, folder: Path) -> None:
        write_folder_data_set(folder, ROWS)


class SyntheticTest(DrawnExamples):
    __test__ = True
    DATASET_CLASS = Synthetic
    BUILDER_CONFIG_NAMES_TO_TEST = [ImageConfig(name="few", source=SyntheticSource(count=60, height=32, width=40))]
    SPLITS = {"train": 41, "validation": 4, "test": 15}

    @classmethod
    def write_examples(cls, folder: Path) -> None:
        """It reads no files."""


def records(result: Ingested) -> Iterator[tuple[Split, dict[str, Any]]]:
    """Every record with its split; texts as str, images still encoded."""
    folder = raw_dataset.folder(result.dataset)
    for split, counts in raw_dataset.shard_counts(folder).items():
        for index in range(len(counts)):
            for record in raw_dataset.read_shard(folder, split, index).as_numpy_iterator():
                flat = record | {"id": record["image"]["id"], "lesion": record["lesion"]["id"]}
                yield split, {key: value.decode() if isinstance(value, bytes) else value for key, value in flat.items()}


def shard_bytes(result: Ingested) -> dict[str, bytes]:
    folder = Path(raw_dataset.folder(result.dataset))
    return {path.name: path.read_bytes() for path in folder.glob("*.tfrecord*")}


# Shards


def test_shard_lengths_are_right_beyond_ten_shards(tmp_path: Path) -> None:
    """TFDS 4.9.10, left to itself, sorts the shards' numbers as text."""
    rows = ROWS[:-7]
    write_folder_data_set(tmp_path / "raw", rows)
    result = ingest(folder_params(tmp_path / "raw", shard_size=3), tmp_path)
    folder = raw_dataset.folder(result.dataset)
    counts = raw_dataset.shard_counts(folder)
    assert len(counts[Split.TRAIN]) > 10
    assert len(set(counts[Split.TRAIN])) > 1, "or any order would do"
    for split, lengths in counts.items():
        files = sorted(Path(folder).glob(f"*-{split}.tfrecord-*"))
        assert [sum(1 for _ in tf.data.TFRecordDataset(str(file))) for file in files] == lengths
    ids = [record["id"] for _, record in records(result)]
    assert sorted(ids) == [row["image_id"] for row in rows], "every shard is found and read to its end"
    assert not [path.name for path in Path(folder).glob("*.json") if "shard" in path.name]


def test_no_temporary_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TFDS 4.9.10, left to itself, leaves a folder."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    write_folder_data_set(tmp_path / "raw", ROWS)

    ingest(folder_params(tmp_path / "raw"), tmp_path)

    assert list(temporary.iterdir()) == []


def test_each_image_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TFDS 4.9.10, left to itself, generates the first split once for each split."""
    write_folder_data_set(tmp_path / "raw", ROWS)
    read: list[str] = []

    def spied(self: FileImages, record: ImageRecord, _read: Callable[..., bytes] = FileImages.read) -> bytes:
        read.append(record.image_id)
        return _read(self, record)

    monkeypatch.setattr(FileImages, "read", spied)
    result = ingest(folder_params(tmp_path / "raw"), tmp_path)
    used = {record["id"] for _, record in records(result)}
    assert len(read) == len(set(read)) and used <= set(read)


def test_the_size_of_shards_moves_no_image_to_another_split(tmp_path: Path) -> None:
    write_folder_data_set(tmp_path / "raw", ROWS)
    few = ingest(folder_params(tmp_path / "raw"), tmp_path / "few")
    many = ingest(folder_params(tmp_path / "raw", shard_size=12), tmp_path / "many")
    assert [(split, record["id"]) for split, record in records(few)] == [
        (split, record["id"]) for split, record in records(many)
    ]


def test_images_are_kept_byte_for_byte_with_their_metadata(tmp_path: Path) -> None:
    files = drawn_files(ROWS)
    write_folder_data_set(tmp_path / "raw", ROWS, files)
    found = {record["id"]: record for _, record in records(ingest(folder_params(tmp_path / "raw"), tmp_path))}
    contents = {Path(name).stem: content for name, content in files.items()}
    for row in ROWS:
        record = found[row["image_id"]]
        assert record["image"]["encoded"] == contents[row["image_id"]]
        assert TASK.class_names[record["label"]] == record["dx"] == row["dx"]
        assert (record["lesion"], record["sex"]) == (row["lesion_id"], row["sex"])
        assert (record["age"], record["localization"]) == (float(row["age"]), row["localization"])
        assert record["age_group"] == {1: "20-39", 2: "40-59", 3: "60-79"}[int(row["age"]) // 20]


# HAM10000


def ingest_release(folder: Path, **layout: bool) -> Ingested:
    write_release(folder / "raw", **layout)
    return ingest(IngestParams(dataset=Ham10000Source(), path=str(folder / "raw")), folder)


def test_the_release_gives_the_same_records_in_each_of_its_forms(tmp_path: Path) -> None:
    expected = shard_bytes(ingest_release(tmp_path / "official"))
    assert len(expected) == 3
    assert shard_bytes(ingest_release(tmp_path / "unpacked", unpacked=True)) == expected
    assert shard_bytes(ingest_release(tmp_path / "tab", tab=True)) == expected


def test_an_unpacked_folder_goes_before_its_archive(tmp_path: Path) -> None:
    write_release(tmp_path)
    write_release(tmp_path, unpacked=True)
    (tmp_path / "HAM10000_images_part_1.zip").write_bytes(b"a download that was cut off")
    assert len(Ham10000(data_dir=tmp_path / "tfds").listing(tmp_path).records) == len(ROWS)


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("HAM10000_metadata.csv", "no HAM10000_metadata.csv or .tab"),
        ("HAM10000_images_part_*.zip", "no HAM10000_images_part_1 and _2"),
    ],
)
def test_missing_files_are_named_with_the_tree_that_is_expected(tmp_path: Path, missing: str, said: str) -> None:
    write_release(tmp_path / "raw")
    for path in (tmp_path / "raw").glob(missing):
        path.unlink()
    params = IngestParams(dataset=Ham10000Source(), path=str(tmp_path / "raw"))
    for door in (raw_content.digest, lambda params: ingest(params, tmp_path)):
        with pytest.raises(UserError) as raised:
            door(params)
        message = str(raised.value)
        assert said in message
        assert_shows_the_tree(message, tmp_path / "raw")


def test_a_folder_that_is_not_there_is_named_with_the_tree_that_is_expected(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a folder") as raised:
        raw_content.digest(IngestParams(dataset=Ham10000Source(), path=str(tmp_path / "raw")))
    assert_shows_the_tree(str(raised.value), tmp_path / "raw")


def assert_shows_the_tree(message: str, folder: Path) -> None:
    assert str(folder) in message
    for line in ("HAM10000_metadata.csv ", "HAM10000_images_part_1.zip", "HAM10000_images_part_2.zip"):
        assert line in message
    assert "doi:10.7910/DVN/DBW86T" in message


def test_half_of_the_release_is_refused_by_what_is_missing(tmp_path: Path) -> None:
    write_release(tmp_path / "raw")
    (tmp_path / "raw" / "HAM10000_images_part_2.zip").unlink()
    with pytest.raises(UserError, match=r"30 of 60 records .*\n.* 30  missing_file"):
        ingest(IngestParams(dataset=Ham10000Source(), path=str(tmp_path / "raw")), tmp_path)


# A user's own folder


def ids_and_classes(result: Ingested) -> dict[str, str]:
    return {record["id"]: record["dx"] for _, record in records(result)}


def test_columns_have_the_names_that_the_config_gives(tmp_path: Path) -> None:
    names = {"image_id": "file", "dx": "diagnosis", "lesion_id": "case", "age": "years", "sex": "gender"}
    rows = [{names.get(own, own): value for own, value in row.items()} | {"remark": "x;y"} for row in ROWS]
    for row in rows:
        row["gender"] = row["gender"][0].upper()
    write_files(tmp_path / "raw" / "images", drawn_files(ROWS))
    write_table(tmp_path / "raw" / "cases.csv", rows)
    source = FolderSource(metadata="cases.csv", images="images", columns={**names, "localization": None})
    found = {
        record["id"]: record for _, record in records(ingest(folder_params(tmp_path / "raw", source=source), tmp_path))
    }
    for row in ROWS:
        record = found[row["image_id"]]
        assert (record["dx"], record["lesion"], record["sex"]) == (row["dx"], row["lesion_id"], row["sex"])
        assert (record["age"], record["localization"]) == (float(row["age"]), "unknown")


def test_only_the_image_and_its_class_are_required(tmp_path: Path) -> None:
    rows = [{"image_id": row["image_id"], "dx": row["dx"]} for row in ROWS]
    write_folder_data_set(tmp_path / "raw", rows, drawn_files(ROWS))
    found = list(records(ingest(folder_params(tmp_path / "raw"), tmp_path)))
    assert len(found) == len(ROWS)
    assert {(record["sex"], record["age_group"], record["lesion"]) for _, record in found} == {
        ("unknown", "unknown", "")
    }


@pytest.mark.parametrize("column", ["image_id", "dx"])
def test_a_required_column_that_is_missing_is_named(tmp_path: Path, column: str) -> None:
    rows = [{own: value for own, value in row.items() if own != column} for row in ROWS]
    write_folder_data_set(tmp_path / "raw", rows, {"IMG_0000.png": b""})
    with pytest.raises(UserError, match=rf"metadata\.csv' has no column '{column}' \(found: lesion_id, .*sex"):
        ingest(folder_params(tmp_path / "raw"), tmp_path)


def test_classes_come_from_the_config_in_the_order_of_their_labels(tmp_path: Path) -> None:
    classes = ("Melanoma", "benign", "Other")
    rows = metadata_rows(60, ("melanoma", "BENIGN", "Other"))
    write_folder_data_set(tmp_path / "raw", rows)
    result = ingest(folder_params(tmp_path / "raw", source=FolderSource(classes=classes)), tmp_path)
    lower = ("melanoma", "benign", "other")
    assert raw_dataset.task(result.dataset).class_names == lower
    assert all(lower[record["label"]] == record["dx"] for _, record in records(result))
    assert ids_and_classes(result) == {row["image_id"]: row["dx"].lower() for row in rows}


@pytest.mark.parametrize("suffix", ["", ".png", ".jpg"])
def test_image_ids_may_have_their_suffix_or_not(tmp_path: Path, suffix: str) -> None:
    rows: list[Row] = [row | {"image_id": row["image_id"] + suffix} for row in ROWS]
    files = drawn_files(ROWS, (suffix or ".png",))
    write_folder_data_set(tmp_path / "raw", rows, files)
    result = ingest(folder_params(tmp_path / "raw"), tmp_path)
    assert ids_and_classes(result) == {row["image_id"]: row["dx"] for row in rows}


def test_images_are_found_in_folders_below(tmp_path: Path) -> None:
    for dx in TASK.class_names:
        files = drawn_files([row for row in ROWS if row["dx"] == dx])
        write_files(tmp_path / "raw" / "by_class" / dx, files)
    write_table(tmp_path / "raw" / "metadata.csv", ROWS, ";")
    assert len(ids_and_classes(ingest(folder_params(tmp_path / "raw"), tmp_path))) == len(ROWS)


@pytest.mark.parametrize(("absent", "said"), [("metadata.csv", "there is no table"), ("images", "there are no images")])
def test_what_is_missing_of_a_folder_is_named(tmp_path: Path, absent: str, said: str) -> None:
    write_files(tmp_path / "raw" / "images", drawn_files(ROWS))
    write_table(tmp_path / "raw" / "metadata.csv", ROWS)
    (tmp_path / "raw" / absent).rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=f"{said}.*{absent}'"):
        ingest(folder_params(tmp_path / "raw", source=FolderSource(images="images")), tmp_path)


# The real images


def real_release() -> Path:
    """Where HAM10000 lies: HAM10000_DIR, or beside the checkout."""
    beside = Path(__file__).parents[3] / ".." / "shared" / "data" / "ham10000"
    return Path(os.environ.get("HAM10000_DIR", beside)).resolve()


@pytest.fixture
def ham10000() -> Path:
    folder = real_release()
    if not (folder / "HAM10000_metadata.csv").is_file():
        pytest.skip("HAM10000 is not here; set HAM10000_DIR")
    return folder


@pytest.mark.ham10000
def test_the_release_is_listed_as_it_was_published(tmp_path: Path, ham10000: Path) -> None:
    listing = Ham10000(data_dir=tmp_path).listing(ham10000)
    assert len(listing.records) == 10_015
    assert listing.rejected == []
    assert Counter(record.class_name for record in listing.records) == {
        "nv": 6705, "mel": 1113, "bkl": 1099, "bcc": 514, "akiec": 327, "vasc": 142, "df": 115,
    }  # fmt: skip
    assert len({record.group for record in listing.records}) == 7_470
    assert sum(math.isnan(float(record.metadata["age"])) for record in listing.records) == 57
    assert all(record.locator for record in listing.records)


@pytest.mark.ham10000
def test_no_real_image_is_a_bad_record(tmp_path: Path, ham10000: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    for archive in ham10000.glob("HAM10000_images_part_*.zip"):
        (raw / archive.name).symlink_to(archive)
    with (ham10000 / "HAM10000_metadata.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[::50][:200]
    write_table(raw / "HAM10000_metadata.csv", rows)
    result = ingest(IngestParams(dataset=Ham10000Source(), path=str(raw), max_bad_fraction=0.0), tmp_path)
    assert result.quarantine() == []
    assert ids_and_classes(result) == {row["image_id"]: row["dx"] for row in rows}


def test_records_have_the_bytes_that_their_content_determines(tmp_path: Path) -> None:
    """Features in the order of their names: a data set that is generated again has the same digest."""
    params = IngestParams.model_validate({"dataset": {"dataset": "synthetic", "count": 240, "height": 32, "width": 32}})
    found = ingest(params, tmp_path)

    files = [str(path) for path in Path(found.dataset.uri).rglob("*.tfrecord*")]
    records = [record.numpy() for record in tf.data.TFRecordDataset(files)]
    assert len(records) == 240
    for record in records:
        assert tf.train.Example.FromString(record).SerializeToString(deterministic=True) == record
