"""Components of the pipeline on Spark: the same bytes as on the in-process engine, although a worker is killed.

`benchmarks/engines.py` compares whole runs, evaluation included, on clusters of several sizes.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.engine_runs import execute, published
from tests.spark.killing import one_killed_when

pytestmark = pytest.mark.slow

NODES = frozenset({"ingest", "preprocess", "train[vanilla]", "leakage", "augment[fgsm]", "predict[vanilla]"})
"""Without the probes and the measurement, which take minutes on a cluster of two cores."""


def test_the_same_bytes_although_a_worker_is_killed(cluster: Path, master: str, tmp_path: Path) -> None:
    alone, spark = tmp_path / "alone", tmp_path / "spark"
    assert [node.message for node in execute(alone, NODES, {}).nodes if not node.ok] == []
    # Trainings run in this process anyway. This one is found only if Spark makes the same examples of the same images.
    shutil.copytree(alone / "artifacts" / "model", spark / "artifacts" / "model")

    # A unit of attack work is finished, others are not.
    units = "staging/predictions-*/units/*/*/*.parquet"
    with one_killed_when(lambda: list(spark.glob(units)), cluster) as killed:
        result = execute(spark, NODES, {}, runner="PySparkRunner", options=[f"--spark_master={master}"])

    assert [node.message for node in result.nodes if not node.ok] == []
    assert {node.node for node in result.nodes if node.status == "cached"} == {"train[vanilla]"}
    assert killed
    assert published(spark) == published(alone)
