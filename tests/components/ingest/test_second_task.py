"""A folder of another task than skin lesions, with images that are not square, through ingest and preprocess."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from google.protobuf import json_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from dermrobust.attacks.errors import UserError
from dermrobust.components import raw_dataset
from dermrobust.components.examples import Batch, ExamplesSpec, Split, read_shard, shard_uris
from dermrobust.components.ingest.component import IngestParams
from dermrobust.components.ingest.datasets.folder.source import FolderSource
from dermrobust.components.preprocess.component import PREPROCESS, PreprocessParams
from tests.components.conftest import Workshop
from tests.datasets import FUNDUS, Ingested, Row, folder_params, ingest, write_fundus_data_set, write_table

PATIENTS = 40
SOURCE = FolderSource(task=FUNDUS)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    return write_fundus_data_set(tmp_path_factory.mktemp("rows") / "raw", PATIENTS)


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Ingested:
    folder = tmp_path_factory.mktemp("fundus")
    write_fundus_data_set(folder / "raw", PATIENTS)
    return ingest(folder_params(folder / "raw", source=SOURCE), folder)


@pytest.fixture(scope="module")
def batches(workshop: Workshop, ingested: Ingested) -> dict[Split, Batch]:
    """What preprocess stored in each split, which is one shard."""
    params = PreprocessParams.model_validate({"image_size": [16, 24]})
    examples = workshop.make(PREPROCESS, params, "fundus", dataset=ingested.dataset)["examples"]
    spec = ExamplesSpec.read(examples)
    assert spec.task == FUNDUS
    shards = {split: shard_uris(examples, spec, split) for split in Split}
    return {split: next(read_shard(uri, spec.task)) for split, (uri,) in shards.items()}


def test_the_data_set_carries_its_task(ingested: Ingested) -> None:
    assert raw_dataset.task(ingested.dataset) == FUNDUS


def test_records_hold_what_the_task_declares(batches: dict[Split, Batch], rows: list[Row]) -> None:
    records = {
        record["image/id"]: record
        for batch in batches.values()
        for record in map(batch.record, range(len(batch.labels)))
    }
    assert sorted(records) == [row["image_id"] for row in rows]
    for row in rows:
        record = records[row["image_id"]]
        assert list(record) == list(FUNDUS.record_features)
        assert FUNDUS.class_names[record["label"]] == record["finding"] == row["finding"]
        assert (record["patient/id"], record["device"]) == (row["patient_id"], row["device"] or "unknown")
        np.testing.assert_equal(record["pressure"], float(row["pressure"] or "nan"))
        expected = "unknown" if not row["pressure"] else FUNDUS.metadata[1].parse(row["pressure"])["pressure_group"]
        assert record["pressure_group"] == expected
    assert {"unknown", "0-14", "15-20", "21+"} == {record["pressure_group"] for record in records.values()}


def test_images_keep_the_shape_that_is_asked_for(batches: dict[Split, Batch]) -> None:
    assert {batch.pixels.shape[1:] for batch in batches.values()} == {(16, 24, 3)}


def test_photographs_of_a_patient_are_in_one_split(batches: dict[Split, Batch]) -> None:
    patients = [set(batch.columns["patient/id"]) for batch in batches.values()]
    assert all(patients)
    assert len(set.union(*patients)) == sum(map(len, patients)) == PATIENTS


def test_statistics_follow_the_task(ingested: Ingested) -> None:
    folder = ingested.output / "statistics"
    schema = json_format.Parse((folder / "schema.json").read_text(), schema_pb2.Schema())
    assert [feature.name for feature in schema.feature] == [
        "finding", "device", "patient/id", "pressure", "image/height", "image/width",
    ]  # fmt: skip
    assert {domain.name: list(domain.value) for domain in schema.string_domain} == {
        "finding": ["normal", "referable"],
        "device": ["topcon", "zeiss", "unknown"],
    }
    statistics = statistics_pb2.DatasetFeatureStatisticsList.FromString((folder / "statistics.binpb").read_bytes())
    train = {feature.path.step[0]: feature for feature in statistics.datasets[0].features}
    assert 10 <= train["pressure"].num_stats.min <= train["pressure"].num_stats.max <= 25
    assert (train["image/height"].num_stats.max, train["image/width"].num_stats.max) == (24, 36)


def test_an_implausible_number_and_an_unknown_class_go_to_quarantine(tmp_path: Path) -> None:
    rows = write_fundus_data_set(tmp_path / "raw", PATIENTS)
    rows[0]["pressure"], rows[1]["finding"] = "1520", "cataract"
    write_table(tmp_path / "raw" / "metadata.csv", rows)
    result = ingest(folder_params(tmp_path / "raw", source=SOURCE, max_bad_fraction=0.1), tmp_path)
    assert [(row["id"], row["reason"], row["detail"]) for row in result.quarantine()] == [
        ("000_left", "invalid_metadata", "pressure '1520' is not between 0 and 80 mmHg"),
        ("000_right", "unknown_label", "finding 'cataract' is none of normal, referable"),
    ]


def test_columns_are_mapped_by_the_names_of_the_task(tmp_path: Path) -> None:
    rows = write_fundus_data_set(tmp_path / "raw", PATIENTS)
    renamed = {"finding": "grade", "patient_id": "who", "pressure": "iop"}
    write_table(tmp_path / "raw" / "metadata.csv", [{renamed.get(k, k): v for k, v in row.items()} for row in rows])
    params = folder_params(tmp_path / "raw", source=FolderSource(task=FUNDUS, columns={**renamed, "device": None}))
    assert ingest(params, tmp_path).quarantine() == []


def test_a_column_that_the_config_names_must_be_there(tmp_path: Path) -> None:
    write_fundus_data_set(tmp_path / "raw", PATIENTS)
    params = folder_params(tmp_path / "raw", source=FolderSource(task=FUNDUS, columns={"device": "camera"}))
    with pytest.raises(UserError, match=r"has no column 'camera' \(found: image_id, finding, patient_id"):
        ingest(params, tmp_path)


def test_the_group_of_a_declared_task_must_be_there_unless_the_config_says_that_it_is_not(tmp_path: Path) -> None:
    """Else images of a patient would be spread over the splits without a word."""
    rows = write_fundus_data_set(tmp_path / "raw", PATIENTS)
    for row in rows:
        del row["patient_id"]
    write_table(tmp_path / "raw" / "metadata.csv", rows)
    with pytest.raises(UserError, match="has no column 'patient_id'"):
        ingest(folder_params(tmp_path / "raw", source=SOURCE), tmp_path)
    params = folder_params(tmp_path / "raw", source=FolderSource(task=FUNDUS, columns={"patient_id": None}))
    assert ingest(params, tmp_path / "each").quarantine() == []


def test_a_missing_table_is_described_in_the_words_of_the_task(tmp_path: Path) -> None:
    params = folder_params(tmp_path, source=SOURCE)
    with pytest.raises(UserError, match=r"columns image_id and finding \(patient_id, device, pressure may"):
        ingest(params, tmp_path / "output")


def test_parameters_are_read_as_they_were_written() -> None:
    params = IngestParams(dataset=SOURCE, path="/data")
    assert IngestParams.model_validate_json(params.model_dump_json()) == params
    assert params.task == FUNDUS
