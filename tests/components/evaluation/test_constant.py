"""The constant classifier: its figures are those that TFMA gives of a model that always answers the same class."""

from collections.abc import Callable
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that

from dermrobust.components.evaluation.params import Reading
from dermrobust.components.evaluation.schemas import CLUSTER, images_schema
from dermrobust.components.examples import ExamplesSpec, Split
from dermrobust.components.measure.constant import always, clean_images, constant_table, most_frequent
from dermrobust.components.measure.joining import clusters
from dermrobust.components.measure.table import metrics_table
from dermrobust.components.measure.tfma_run import joined_batches
from dermrobust.models.preprocessing import Preprocessing
from tests.components.evaluation.conftest import CLASS_NAMES, TASK, predictions, write_shards

NV = CLASS_NAMES.index("nv")
UNDEFINED = {"attack_success_rate", "malignant_to_benign", "benign_to_malignant", "median_robust_radius"}
"""Metrics of what an attack changes."""


def answering(label: int) -> pa.Table:
    """Predictions of a model that is certain of one class."""
    table = predictions({"a": 1.0})["a"]
    scores = [np.eye(len(CLASS_NAMES), dtype=np.float32)[label].tolist()] * len(table)
    place = table.column_names.index("probabilities")
    return table.set_column(place, "probabilities", pa.array(scores, pa.list_(pa.float32())))


def images_of_predictions() -> pa.Table:
    table = predictions({"a": 1.0})["a"]
    clean = table.filter(pa.array([attack == "none" for attack in table["attack"].to_pylist()]))
    return clean.append_column(CLUSTER, pa.array(clusters(clean, TASK))).select(images_schema(TASK).names)


def test_its_figures_are_those_of_a_model_that_always_answers_this_class(evaluate: Callable[..., Any]) -> None:
    found = evaluate({"vanilla": 1.0}, {"same": answering(NV)})
    measured = metrics_table(found.output_uri, ["vanilla", "same"], "linf", 10)
    expected = [row for row in measured.to_pylist() if row["model"] == "same" and row["metric"] not in UNDEFINED]
    vanilla = measured.filter(pa.array([model == "vanilla" for model in measured["model"].to_pylist()]))
    table = constant_table(images_of_predictions(), vanilla, TASK, NV, Reading(specificity=0.9, min_slice_size=10))
    assert table.schema == measured.schema
    rows = table.to_pylist()
    assert {row["model"] for row in rows} == {"constant"}
    assert len(rows) == len(expected)
    for row, wanted in zip(rows, expected, strict=True):
        assert row == {**wanted, "model": "constant", **{name: pytest.approx(wanted[name]) for name in FIGURES}}
    accuracies = {row["value"] for row in rows if (row["slice"], row["metric"]) == ("overall", "accuracy")}
    assert accuracies == {np.mean(np.asarray(images_of_predictions()["label"]) == NV)}


FIGURES = ("value", "lower", "upper")


def test_the_images_of_a_pipeline_are_each_there_once(tmp_path: Any) -> None:
    wanted = sorted(map(repr, images_of_predictions().to_pylist()))

    def check(tables: list[pa.Table]) -> None:
        assert sorted(repr(row) for table in tables for row in table.to_pylist()) == wanted

    with beam.Pipeline(runner=FnApiRunner()) as root:
        batches = joined_batches(root, write_shards(tmp_path, predictions({"a": 1.0, "b": 2.0})), TASK)
        assert_that(batches | beam.FlatMap(clean_images, images_schema(TASK).names), check)


@pytest.mark.parametrize(("train", "test", "label"), [([1, 7, 2, 0], [9, 1, 0, 0], 1), ([0, 0, 0, 0], [1, 0, 8, 8], 2)])
def test_the_class_is_the_most_frequent_of_the_training_split_or_else_of_the_test_split(
    train: list[int], test: list[int], label: int
) -> None:
    counts = {Split.TRAIN: train, Split.VALIDATION: [50, 0, 0, 0], Split.TEST: test}
    sizes = {split: sum(each) for split, each in counts.items()}
    spec = ExamplesSpec(
        task=TASK,
        preprocessing=Preprocessing(image_size=16),
        shards=sizes,
        lengths={},
        counts=sizes,
        class_counts=counts,
    )
    assert most_frequent(spec) == label


def test_other_predictions_become_its_own() -> None:
    table = pa.table({"label": [0, 1], "predicted": [0, 0], "corruption": ["jpeg", "jpeg"]})
    assert always(2, table).to_pydict() == {"label": [0, 1], "predicted": [2, 2], "corruption": ["jpeg", "jpeg"]}
