"""The pipeline on Spark: the same bytes as on the in-process engine, also when a worker is killed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dermrobust.pipeline.cli.main import main
from tests.spark.killing import one_killed_when

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = {
    "ingest": {"dataset": {"dataset": "synthetic", "count": 120}},
    "preprocess": {"image_size": 16},
    "train": {"network": "tiny", "epochs": 1, "warmup_epochs": 0, "xla": False},
    "augment": {"models": {"fgsm": ["fgsm"]}, "attacks": {"fgsm": {"attack": "fgsm"}}, "train": {"epochs": 1}},
    "evaluate": {
        "epsilons": [4, 8],
        "attacks": {
            "pgd": {"attack": "pgd", "steps": 2},
            "universal": {"attack": "universal", "passes": 1, "images": 16},
        },
        "probes": {"images": 8, "queries": 2, "spsa_images": 0, "corruption_images": 8},
        "gate": {
            "candidate": "fgsm",
            "baseline": "vanilla",
            "thresholds": [{"metric": "accuracy", "min": 0.0}],
            "checks": "ignored",
        },
    },
}


def execute(folder: Path, *options: str) -> Result:
    folder.mkdir(exist_ok=True)
    config = folder / "config.json"
    config.write_text(json.dumps(SMALL))
    arguments = ["run", "--to", "gate", "--config", str(config), "--set", f"root={folder / 'output'}", *options]
    return CliRunner().invoke(main, arguments)


def on_spark(master: str) -> tuple[str, ...]:
    return "--set", "beam.runner=PySparkRunner", "--set", f'beam.options=["--spark_master={master}"]'


def published(root: Path) -> dict[str, dict[str, str]]:
    """SHA-256 of the files of each artifact, by type and fingerprint."""
    manifests = {path.parent: json.loads(path.read_bytes()) for path in root.glob("artifacts/*/*/manifest.json")}
    return {
        str(folder.relative_to(root / "artifacts")): {file["path"]: file["sha256"] for file in manifest["files"]}
        for folder, manifest in manifests.items()
    }


def test_the_same_bytes_although_a_worker_is_killed(cluster: Path, master: str, tmp_path: Path) -> None:
    alone, spark = tmp_path / "alone", tmp_path / "spark"
    assert execute(alone).exit_code == 0
    # Trainings run in this process anyway. They are found only if Spark makes the same examples of the same images.
    shutil.copytree(alone / "output" / "artifacts" / "model", spark / "output" / "artifacts" / "model")

    # A unit of attack work is finished, others are not.
    staging = spark / "output" / "staging"
    with one_killed_when(lambda: list(staging.glob("predictions-*/units/*/*/*.parquet")), cluster) as killed:
        result = execute(spark, *on_spark(master))

    assert result.exit_code == 0, result.output
    assert killed
    assert published(spark / "output") == published(alone / "output")
