"""Another task than skin lesions, with images that are not square, through the whole pipeline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from click.testing import CliRunner, Result

from dermrobust.pipeline.cli.main import main
from tests.datasets import FUNDUS, write_fundus_data_set

pytestmark = pytest.mark.slow

CONFIG: dict[str, Any] = {
    "preprocess": {"image_size": [16, 24]},
    "train": {"network": "tiny", "epochs": 4, "warmup_epochs": 0, "learning_rate": 0.01, "xla": False},
    "augment": {"attacks": {"fgsm": "fgsm"}, "models": {"fgsm": ["fgsm"]}, "train": {"epochs": 1}},
    "evaluate": {
        "epsilons": [4],
        "attacks": {"fgsm": "fgsm", "transfer": {"attack": "transfer", "source": "vanilla", "crafted_with": "fgsm"}},
        "probes": {"images": 8, "queries": 4, "spsa_images": 0, "corruption_images": 8},
        "gate": {
            "candidate": "vanilla",
            "thresholds": [
                {"metric": "balanced_accuracy", "min": 0.6},
                {"metric": "accuracy", "class": "referable", "min": 0.1},
                {"metric": "accuracy", "attack": "fgsm", "epsilon": 4, "min": 0.0},
            ],
            "checks": "ignored",
        },
    },
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fundus")


@pytest.fixture(scope="module")
def run(root: Path) -> Result:
    write_fundus_data_set(root / "images")
    ingest = {"dataset": {"dataset": "folder", "task": FUNDUS.model_dump(mode="json")}, "path": str(root / "images")}
    config = root / "config.json"
    config.write_text(json.dumps({**CONFIG, "ingest": ingest, "root": str(root / "output")}))
    return CliRunner().invoke(main, ["run", "--config", str(config)])


def test_it_runs_from_images_to_the_export(run: Result, root: Path) -> None:
    assert run.exit_code == 0, run.output
    served = tf.saved_model.load(str(root / "output" / "export" / "1"))
    photograph = tf.io.encode_png(tf.zeros((48, 72, 3), tf.uint8))
    answer = served.signatures["serving_default"](image_bytes=tf.stack([photograph]))
    assert answer["class"].numpy()[0].decode() in FUNDUS.class_names


def test_metrics_are_sliced_as_the_task_declares(run: Result, root: Path) -> None:
    shown = CliRunner().invoke(main, ["show", "metrics", "--all", "--json", "--config", str(root / "config.json")])
    rows = json.loads(shown.stdout)

    assert {row["slice"].split("=")[0] for row in rows} == {"overall", "finding", "device", "pressure_group"}
    assert {row["slice"] for row in rows if row["slice"].startswith("finding=")} == {
        "finding=normal",
        "finding=referable",
    }
    assert "pressure_group=15-20" in {row["slice"] for row in rows}
    # Two classes that anybody can tell apart.
    (clean,) = (
        row["value"]
        for row in rows
        if (row["model"], row["attack"], row["slice"], row["metric"])
        == ("vanilla", "none", "overall", "balanced_accuracy")
    )
    assert clean > 0.8


def test_photographs_of_a_patient_are_in_one_split(run: Result, root: Path) -> None:
    (spec,) = (root / "output" / "artifacts" / "examples").glob("*/examples.json")
    counts = json.loads(spec.read_text())["counts"]
    leakage = next((root / "output" / "artifacts" / "leakage").glob("*/leakage.json"))

    assert all(count % 2 == 0 for count in counts.values())
    assert json.loads(leakage.read_text())["shared_groups"] == []


def test_report_and_card_speak_of_the_task(run: Result, root: Path) -> None:
    for name in ("report.html", "model_card.md"):
        text = (root / "output" / "report" / name).read_text().lower()
        # The key of a threshold for one class, in the configuration that the report prints.
        text = text.replace("&#34;lesion&#34;", "")
        for word in ("melanoma", "lesion", "skin", "akiec"):
            assert word not in text, (name, word, text[max(0, text.index(word) - 100) :][:200])
        assert "referable" in text
