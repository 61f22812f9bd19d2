"""Statistics of every split are right and readable, and data that nothing could be trained on are refused."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest
from google.protobuf import json_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from dermrobust.attacks.errors import UserError
from dermrobust.components import raw_dataset
from dermrobust.components.examples import Split
from dermrobust.components.image_record import ImageRecord
from dermrobust.components.image_validation import ImageSize
from dermrobust.components.ingest import statistics
from dermrobust.components.ingest.component import SplitParams
from dermrobust.components.ingest.datasets.folder.source import FolderSource
from dermrobust.components.ingest.statistics import ShardCounts
from dermrobust.models.task import Metadata
from dermrobust.models.tasks.ham10000 import lesion_task
from tests.datasets import (
    Ingested,
    Row,
    draw,
    encoded,
    folder_params,
    ingest,
    metadata_rows,
    write_folder_data_set,
)

CLASSES = ("bkl", "mel", "nv")
Features = dict[str, statistics_pb2.FeatureNameStatistics]


def read(folder: Path) -> statistics_pb2.DatasetFeatureStatisticsList:
    return statistics_pb2.DatasetFeatureStatisticsList.FromString((folder / "statistics.binpb").read_bytes())


def features(dataset: statistics_pb2.DatasetFeatureStatistics) -> Features:
    return {feature.path.step[0]: feature for feature in dataset.features}


def top_values(feature: statistics_pb2.FeatureNameStatistics) -> dict[str, int]:
    return {value.value: int(value.frequency) for value in feature.string_stats.top_values}


def rows_with_gaps() -> list[Row]:
    """Metadata in which every fourth age, every tenth lesion and every third sex is missing."""
    rows = metadata_rows()
    for index, row in enumerate(rows):
        row["age"] = "" if index % 4 == 0 else row["age"]
        row["lesion_id"] = "" if index % 10 == 0 else row["lesion_id"]
        row["sex"] = "" if index % 3 == 0 else row["sex"]
    return rows


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Ingested:
    """An ingest of images whose height is 20 to 24 pixels and whose width is twice that."""
    folder, rows = tmp_path_factory.mktemp("statistics"), rows_with_gaps()
    files = {f"{row['image_id']}.png": encoded(draw(0, 20 + i % 5, 40 + 2 * (i % 5))) for i, row in enumerate(rows)}
    write_folder_data_set(folder / "raw", rows, files)
    return ingest(folder_params(folder / "raw"), folder)


@pytest.fixture(scope="module")
def rows_of(ingested: Ingested) -> dict[Split, list[Row]]:
    """The rows of the table that went into each split."""
    by_id = {row["image_id"]: row for row in rows_with_gaps()}
    folder = raw_dataset.folder(ingested.dataset)
    return {
        split: [
            by_id[record["image"]["id"].decode()]
            for record in raw_dataset.read_shard(folder, split, 0).as_numpy_iterator()
        ]
        for split in Split
    }


@pytest.fixture(scope="module", params=list(Split))
def split(request: pytest.FixtureRequest) -> Split:
    chosen: Split = request.param
    return chosen


@pytest.fixture
def written(ingested: Ingested, split: Split) -> statistics_pb2.DatasetFeatureStatistics:
    (dataset,) = [item for item in read(ingested.output / "statistics").datasets if item.name == split]
    return dataset


def test_every_split_is_counted(
    written: statistics_pb2.DatasetFeatureStatistics, rows_of: dict[Split, list[Row]], split: Split
) -> None:
    assert written.num_examples == len(rows_of[split]) > 0


def test_values_are_counted_and_the_commonest_come_first(
    written: statistics_pb2.DatasetFeatureStatistics, rows_of: dict[Split, list[Row]], split: Split
) -> None:
    for name in ("dx", "localization"):
        expected = Counter(row[name] for row in rows_of[split])
        feature = features(written)[name]
        assert top_values(feature) == expected
        assert [value.frequency for value in feature.string_stats.top_values] == sorted(expected.values(), reverse=True)
        assert feature.string_stats.unique == len(expected)
    sexes = Counter(row["sex"] or "unknown" for row in rows_of[split])
    assert top_values(features(written)["sex"]) == sexes


def test_missing_values_are_counted(
    written: statistics_pb2.DatasetFeatureStatistics, rows_of: dict[Split, list[Row]], split: Split
) -> None:
    lesion = features(written)["lesion/id"].string_stats.common_stats
    age = features(written)["age"].num_stats.common_stats
    for name, stats in (("lesion_id", lesion), ("age", age)):
        missing = sum(not row[name] for row in rows_of[split])
        assert (stats.num_missing, stats.num_non_missing) == (missing, len(rows_of[split]) - missing)


def test_ages_are_summed_up(
    written: statistics_pb2.DatasetFeatureStatistics, rows_of: dict[Split, list[Row]], split: Split
) -> None:
    ages = sorted(float(row["age"]) for row in rows_of[split] if row["age"])
    stats = features(written)["age"].num_stats
    mean = sum(ages) / len(ages)
    assert (stats.min, stats.max) == (ages[0], ages[-1])
    assert stats.mean == pytest.approx(mean)
    assert stats.std_dev == pytest.approx(math.sqrt(sum((age - mean) ** 2 for age in ages) / len(ages)))
    assert stats.median == ages[(len(ages) - 1) // 2]


def test_image_sizes_are_summed_up(written: statistics_pb2.DatasetFeatureStatistics) -> None:
    height, width = (features(written)[f"image/{side}"].num_stats for side in ("height", "width"))
    assert 20 <= height.min <= height.mean <= height.max <= 24
    assert (width.min, width.max) == (2 * height.min, 2 * height.max)
    assert width.mean == pytest.approx(2 * height.mean)
    assert height.common_stats.num_missing == 0


def test_the_json_beside_the_protos_says_the_same(ingested: Ingested) -> None:
    folder = ingested.output / "statistics"
    messages = {
        "statistics": statistics_pb2.DatasetFeatureStatisticsList,
        "schema": schema_pb2.Schema,
        "anomalies": anomalies_pb2.Anomalies,
    }
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        f"{name}.{suffix}" for name in messages for suffix in ("binpb", "json")
    )
    for name, message in messages.items():
        binary = message.FromString((folder / f"{name}.binpb").read_bytes())
        assert json_format.Parse((folder / f"{name}.json").read_text(), message()) == binary


def test_good_data_have_no_anomaly(ingested: Ingested) -> None:
    assert (ingested.output / "statistics" / "anomalies.binpb").read_bytes() == b""


def test_identifiers_are_listed_up_to_a_number_that_one_reads() -> None:
    counts = counted([record(lesion_id=f"L{index:04d}") for index in range(200)])
    proto = statistics.to_proto({Split.TRAIN: counts}, lesion_task(CLASSES))
    lesion = features(proto.datasets[0])["lesion/id"].string_stats
    assert (lesion.unique, len(lesion.top_values)) == (200, 50)


# Anomalies


def record(dx: str = "nv", lesion_id: str = "L1", sex: str = "male") -> ImageRecord:
    metadata: Metadata = {"age": 50.0, "age_group": "40-59", "sex": sex, "localization": "back"}
    return ImageRecord(image_id="I", class_name=dx, group=lesion_id, metadata=metadata)


def counted(records: list[ImageRecord]) -> ShardCounts:
    counts = ShardCounts()
    for item in records:
        counts.add(item, ImageSize(height=30, width=40), lesion_task(CLASSES))
    return counts


def complete() -> dict[Split, ShardCounts]:
    """Splits that have an image of every class."""
    return {split: counted([record(dx) for dx in CLASSES]) for split in Split}


def refused(folder: Path, splits: dict[Split, ShardCounts], classes: tuple[str, ...] = CLASSES) -> str:
    """The message with which data are refused; the files must be there all the same."""
    with pytest.raises(UserError) as raised:
        statistics.write(str(folder), splits, lesion_task(classes))
    assert len(read(folder).datasets) == len(Split)
    found = anomalies_pb2.Anomalies.FromString((folder / "anomalies.binpb").read_bytes())
    assert found.anomaly_info
    return str(raised.value)


def test_complete_data_are_accepted(tmp_path: Path) -> None:
    statistics.write(str(tmp_path), complete(), lesion_task(CLASSES))


def test_a_class_without_a_training_image_is_refused(tmp_path: Path) -> None:
    splits = complete() | {Split.TRAIN: counted([record("bkl"), record("nv")])}
    message = refused(tmp_path, splits)
    assert "train/dx/mel: class 'mel' has no image to learn from" in message
    assert "bkl" not in message


def test_a_class_may_be_absent_from_the_other_splits(tmp_path: Path) -> None:
    statistics.write(str(tmp_path), complete() | {Split.TEST: counted([record("nv")])}, lesion_task(CLASSES))


def test_any_number_of_classes_is_checked(tmp_path: Path) -> None:
    classes = tuple(f"class{index:03d}" for index in range(120))
    splits = {split: counted([record(dx) for dx in classes]) for split in Split}
    statistics.write(str(tmp_path), splits, lesion_task(classes))


@pytest.mark.parametrize("empty", list(Split))
def test_an_empty_split_is_refused(tmp_path: Path, empty: Split) -> None:
    assert f"{empty}: the split has no images" in refused(tmp_path, complete() | {empty: ShardCounts()})


def test_every_unknown_sex_is_told(tmp_path: Path) -> None:
    train = counted([record(dx) for dx in CLASSES] + [record(sex="x"), record(sex="x"), record(sex="?")])
    message = refused(tmp_path, complete() | {Split.TRAIN: train})
    assert "train/sex: 'x' (2 images); '?' (1 images)" in message
    found = anomalies_pb2.Anomalies.FromString((tmp_path / "anomalies.binpb").read_bytes())
    assert list(found.anomaly_info["train/sex"].path.step) == ["train", "sex"]


def test_the_stage_refuses_a_class_without_training_image_and_leaves_statistics(tmp_path: Path) -> None:
    write_folder_data_set(tmp_path / "raw", metadata_rows(60, CLASSES))
    params = folder_params(tmp_path / "raw", source=FolderSource(classes=(*CLASSES, "vasc")))
    with pytest.raises(UserError, match="train/dx/vasc: class 'vasc' has no image to learn from"):
        ingest(params, tmp_path)
    assert sum(dataset.num_examples for dataset in read(tmp_path / "statistics").datasets) == 60


def test_the_stage_refuses_an_empty_split_and_leaves_statistics(tmp_path: Path) -> None:
    write_folder_data_set(tmp_path / "raw", metadata_rows(60, CLASSES))
    params = folder_params(
        tmp_path / "raw",
        source=FolderSource(classes=CLASSES),
        splits=SplitParams(validation=1e-9, test=0.2, salt="salt"),
    )
    with pytest.raises(UserError, match="validation: the split has no images"):
        ingest(params, tmp_path)
    assert (tmp_path / "statistics" / "anomalies.json").is_file()
