"""ISIC 2019: TFDS's own test case, the forms of the release, and what is set aside."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow_datasets as tfds

from dermrobust.attacks.errors import UserError
from dermrobust.components.image_record import ImageRecord
from dermrobust.components.ingest import raw_content
from dermrobust.components.ingest.component import IngestParams
from dermrobust.components.ingest.datasets.builder import ImageConfig, Listing
from dermrobust.components.ingest.datasets.isic2019.builder import Isic2019
from dermrobust.components.ingest.datasets.isic2019.source import Isic2019Source
from dermrobust.models.tasks.isic2019 import TASK
from tests.datasets import Row, drawn_files, ingest, write_archive, write_files, write_table

CLASSES = tuple(name.upper() for name in TASK.class_names)
COUNT = 120
IMAGES = "ISIC_2019_Training_Input"
LABELS = "ISIC_2019_Training_GroundTruth.csv"
METADATA = "ISIC_2019_Training_Metadata.csv"


def name(index: int) -> str:
    """As in the release, where some images were stored at a smaller size."""
    return f"ISIC_{index:07d}" + ("_downsampled" if index % 5 == 0 else "")


def marks(index: int, class_name: str) -> Row:
    return {"image": name(index)} | {known: f"{float(known == class_name)}" for known in (*CLASSES, "UNK")}


def label_rows() -> list[Row]:
    """Two images a lesion, and the classes in turn."""
    return [marks(index, CLASSES[index // 2 % len(CLASSES)]) for index in range(COUNT)]


def metadata_rows() -> list[Row]:
    """As in the release: numbers with a point, and gaps; every fourth image has no lesion."""
    return [
        {
            "image": name(index),
            "age_approx": "" if index % 7 == 0 else f"{5.0 * (index % 18)}",
            "anatom_site_general": ("anterior torso", "head/neck", "")[index % 3],
            "lesion_id": "" if index % 4 == 0 else f"BCN_{index // 2:07d}",
            "sex": ("male", "female", "")[index % 3],
        }
        for index in range(COUNT)
    ]


def files() -> dict[str, bytes]:
    return drawn_files([{"image_id": name(index)} for index in range(COUNT)], (".jpg",))


def write_release(folder: Path, write_images: Callable[[Path, dict[str, bytes]], None] | None = None) -> None:
    """Write a tiny release; by default its images are an archive."""
    folder.mkdir(parents=True, exist_ok=True)
    write_table(folder / LABELS, label_rows())
    write_table(folder / METADATA, metadata_rows())
    if write_images is None:
        write_archive(folder / f"{IMAGES}.zip", {f"{IMAGES}/{path}": content for path, content in files().items()})
    else:
        write_images(folder, files())


def listing(folder: Path, source: Isic2019Source | None = None) -> Listing:
    config = ImageConfig(name="test", source=source or Isic2019Source())
    return Isic2019(data_dir=folder / "tfds", config=config).listing(folder)


def described(found: Listing) -> list[tuple[str, str, str, str]]:
    """Image, class, group and the name of the file of each record."""
    return [(item.image_id, item.class_name, item.group, Path(item.locator).name) for item in found.records]


class Isic2019Test(tfds.testing.DatasetBuilderTestCase):
    """TFDS's test case on a release that is drawn for it."""

    DATASET_CLASS = Isic2019
    SPLITS = {"train": 72, "validation": 17, "test": 31}

    @classmethod
    def setUpClass(cls) -> None:
        cls.EXAMPLE_DIR = tempfile.mkdtemp()
        write_release(Path(cls.EXAMPLE_DIR))
        super().setUpClass()

    @classmethod
    def tearDownClass(cls) -> None:
        super().tearDownClass()
        shutil.rmtree(cls.EXAMPLE_DIR)


def test_labels_and_metadata_are_joined_by_the_image(tmp_path: Path) -> None:
    write_release(tmp_path)
    write_table(tmp_path / METADATA, metadata_rows()[::-1])
    found = listing(tmp_path)
    assert found.rejected == []
    assert [item.image_id for item in found.records] == [name(index) for index in range(COUNT)]
    assert [item.class_name for item in found.records[:6]] == ["mel", "mel", "nv", "nv", "bcc", "bcc"]
    unknown, known, *_ = found.records
    expected: dict[str, str | float] = {"age": 5.0, "age_group": "0-19", "sex": "female", "localization": "head/neck"}
    locator = f"{tmp_path / IMAGES}.zip\0{IMAGES}/{name(1)}.jpg"
    assert known == ImageRecord(name(1), "mel", "BCN_0000000", expected, locator)
    assert (unknown.group, unknown.metadata["age_group"]) == ("", "unknown")
    assert math.isnan(float(unknown.metadata["age"]))


def unpacked(folder: Path, images: dict[str, bytes]) -> None:
    write_files(folder / IMAGES, images)


def nested(folder: Path, images: dict[str, bytes]) -> None:
    write_files(folder / IMAGES / IMAGES, images)


def without_suffix(folder: Path, images: dict[str, bytes]) -> None:
    """As in copies of the release that name downsampled images like the others."""
    write_files(folder / IMAGES, {path.replace("_downsampled", ""): content for path, content in images.items()})


@pytest.mark.parametrize("write_images", [unpacked, nested, without_suffix])
def test_images_are_found_in_each_form_of_the_release(
    tmp_path: Path, write_images: Callable[[Path, dict[str, bytes]], None]
) -> None:
    write_release(tmp_path, write_images)
    found = listing(tmp_path).records
    assert all(item.locator for item in found)
    assert len({item.locator for item in found}) == COUNT


def test_the_table_may_leave_the_suffix_of_downsampled_images_out(tmp_path: Path) -> None:
    write_release(tmp_path, unpacked)
    for table, rows in ((LABELS, label_rows()), (METADATA, metadata_rows())):
        plain = [row | {"image": row["image"].removesuffix("_downsampled")} for row in rows]
        write_table(tmp_path / table, plain)
    found = described(listing(tmp_path))
    assert found[5] == ("ISIC_0000005", "bcc", "BCN_0000002", "ISIC_0000005_downsampled.jpg")


def test_an_image_is_its_own_before_it_is_the_downsampled_one(tmp_path: Path) -> None:
    write_release(tmp_path, unpacked)
    shutil.copy(tmp_path / IMAGES / f"{name(1)}.jpg", tmp_path / IMAGES / "ISIC_0000005.jpg")
    write_table(tmp_path / LABELS, [*label_rows(), marks(5, "MEL") | {"image": "ISIC_0000005"}])
    found = {image_id: file for image_id, _, _, file in described(listing(tmp_path))}
    for image_id in ("ISIC_0000005", "ISIC_0000005_downsampled"):
        assert found[image_id] == f"{image_id}.jpg"


def test_smaller_copies_of_the_images_may_be_in_another_folder(tmp_path: Path) -> None:
    write_release(tmp_path, lambda folder, images: write_files(folder / "train_224", images))
    with pytest.raises(UserError, match=f"has no {IMAGES}"):
        listing(tmp_path)
    found = listing(tmp_path, Isic2019Source(images="train_224"))
    assert {Path(item.locator).parent.name for item in found.records} == {"train_224"}


def test_unknown_classes_and_contradictory_rows_go_to_quarantine(tmp_path: Path) -> None:
    write_release(tmp_path / "raw")
    rows = label_rows()
    rows[3] = marks(3, "UNK")
    rows[4] = marks(4, "")
    rows[5]["NV"] = "1.0"
    write_table(tmp_path / "raw" / LABELS, rows)
    write_table(tmp_path / "raw" / METADATA, [*metadata_rows(), metadata_rows()[6]])
    params = IngestParams(dataset=Isic2019Source(), path=str(tmp_path / "raw"), max_bad_fraction=0.1)
    assert [(row["id"], row["reason"], row["detail"]) for row in ingest(params, tmp_path).quarantine()] == [
        (name(3), "unknown_label", "dx 'unk' is none of mel, nv, bcc, ak, bkl, df, vasc, scc"),
        (name(4), "invalid_metadata", "marked as no class; one class is needed"),
        (name(5), "invalid_metadata", "marked as NV and BCC; one class is needed"),
        (name(6), "duplicate_id", f"the image stands in 2 rows of '{METADATA}'"),
    ]


def test_an_image_without_a_row_of_metadata_is_kept(tmp_path: Path) -> None:
    write_release(tmp_path)
    write_table(tmp_path / METADATA, metadata_rows()[1:])
    assert listing(tmp_path).records[0].metadata["sex"] == "unknown"


@pytest.mark.parametrize("missing", [LABELS, METADATA, f"{IMAGES}.zip"])
def test_missing_files_are_named_with_the_tree_that_is_expected(tmp_path: Path, missing: str) -> None:
    write_release(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(UserError) as raised:
        raw_content.digest(IngestParams(dataset=Isic2019Source(), path=str(tmp_path)))
    message = str(raised.value)
    assert f"'{tmp_path}' has no {missing.removesuffix('.zip')}. " in message
    for line in (LABELS, METADATA, f"{IMAGES}.zip", "CC BY-NC 4.0"):
        assert line in message


@pytest.mark.parametrize(("table", "column"), [(LABELS, "SCC"), (METADATA, "lesion_id")])
def test_a_missing_column_is_named(tmp_path: Path, table: str, column: str) -> None:
    write_release(tmp_path)
    rows = label_rows() if table == LABELS else metadata_rows()
    write_table(tmp_path / table, [{key: row[key] for key in row if key != column} for row in rows])
    with pytest.raises(UserError, match=f"{table}' has no column '{column}'"):
        listing(tmp_path)
