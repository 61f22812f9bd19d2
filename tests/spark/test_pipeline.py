"""Components of the pipeline on Spark: the same bytes as on the in-process engine, although a worker is killed.

`benchmarks/engines.py` compares whole runs, evaluation included, on clusters of several sizes.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from dermrobust.components.progress import Silent
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.graph import build_graph
from dermrobust.pipeline.outcomes import RunResult
from dermrobust.pipeline.runner import run_graph
from tests.spark.killing import one_killed_when

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = {
    "ingest": {"dataset": {"dataset": "synthetic", "count": 120}},
    "preprocess": {"image_size": 16},
    "train": {"network": "tiny", "epochs": 1, "warmup_epochs": 0, "xla": False},
    "augment": {"models": {"fgsm": ["fgsm"]}, "attacks": {"fgsm": {"attack": "fgsm"}}},
    "evaluate": {
        "epsilons": [4],
        "attacks": {
            "pgd": {"attack": "pgd", "steps": 2},
            "universal": {"attack": "universal", "passes": 1, "images": 16},
        },
        "gate": {
            "candidate": "fgsm",
            "baseline": "vanilla",
            "thresholds": [{"metric": "accuracy", "attack": "pgd", "epsilon": 4, "min": 0.0}],
        },
    },
}
NODES = frozenset({"ingest", "preprocess", "train[vanilla]", "leakage", "augment[fgsm]", "predict[vanilla]"})
"""Without the probes and the measurement, which take minutes on a cluster of two cores."""


def execute(root: Path, **beam: Any) -> RunResult:
    config = PipelineConfig.model_validate({**SMALL, "root": str(root), "beam": beam})
    nodes = [node for node in build_graph(config) if node.id in NODES]
    return run_graph(config, nodes, Silent(), settings={}, selected=NODES, force=False)


def published(root: Path) -> dict[str, dict[str, str]]:
    """SHA-256 of the files of each artifact, by type and fingerprint."""
    manifests = {path.parent: json.loads(path.read_bytes()) for path in root.glob("artifacts/*/*/manifest.json")}
    return {
        str(folder.relative_to(root / "artifacts")): {file["path"]: file["sha256"] for file in manifest["files"]}
        for folder, manifest in manifests.items()
    }


def test_the_same_bytes_although_a_worker_is_killed(cluster: Path, master: str, tmp_path: Path) -> None:
    alone, spark = tmp_path / "alone", tmp_path / "spark"
    assert [node.message for node in execute(alone).nodes if not node.ok] == []
    # Trainings run in this process anyway. This one is found only if Spark makes the same examples of the same images.
    shutil.copytree(alone / "artifacts" / "model", spark / "artifacts" / "model")

    # A unit of attack work is finished, others are not.
    units = "staging/predictions-*/units/*/*/*.parquet"
    with one_killed_when(lambda: list(spark.glob(units)), cluster) as killed:
        result = execute(spark, runner="PySparkRunner", options=[f"--spark_master={master}"])

    assert [node.message for node in result.nodes if not node.ok] == []
    assert {node.node for node in result.nodes if node.status == "cached"} == {"train[vanilla]"}
    assert killed
    assert published(spark) == published(alone)
