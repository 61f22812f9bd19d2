"""Another task than skin lesions, with images that are not square, through the whole pipeline: with its root on a local
disk, and in a bucket of an S3 server, which gives the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import tensorflow as tf
from click.testing import CliRunner, Result
from moto.server import ThreadedMotoServer

from dermrobust.components import storage
from dermrobust.components.artifacts import MANIFEST, ArtifactType, Manifest
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


BUCKET = "s3://lab/runs"
BY_TENSORFLOW = {ArtifactType.EXPORTED_MODEL}
"""Artifacts whose bytes TensorFlow does not determine: a SavedModel has a number of its own."""


def in_bucket(command: str, *options: str, root: str = BUCKET) -> Result:
    return CliRunner().invoke(main, [command, "--config", "../config.json", "--set", f"root={root}", *options])


@pytest.fixture(scope="module")
def working_folder(run: Result, root: Path) -> Iterator[Path]:
    """An empty working folder, beside a server with an empty bucket."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        }.items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="lab")
        (root / "working").mkdir()
        patch.chdir(root / "working")
        yield root / "working"
    server.stop()


@pytest.fixture(scope="module")
def remote(working_folder: Path) -> Result:
    """The same config with its root in the bucket."""
    return in_bucket("run", "--json")


def digests(root: str) -> dict[tuple[str, str], str]:
    """The digest of the content of every artifact below a root."""
    places = [name for name in storage.list_files(storage.join(root, "artifacts")) if name.endswith(f"/{MANIFEST}")]
    found = [Manifest.model_validate_json(storage.read_bytes(storage.join(root, "artifacts", name))) for name in places]
    return {(one.type.value, one.fingerprint): one.digest for one in found if one.type not in BY_TENSORFLOW}


def test_artifacts_in_a_bucket_are_those_of_the_local_disk(remote: Result, root: Path) -> None:
    assert remote.exit_code == 0, remote.output
    made = digests(BUCKET)
    assert len(made) > 10
    assert made == digests(str(root / "output"))


def test_with_a_bucket_only_ledger_report_and_logs_are_written_here(remote: Result, working_folder: Path) -> None:
    assert [path.name for path in working_folder.iterdir()] == [".dermrobust"]
    (beside,) = (working_folder / ".dermrobust").iterdir()
    kept = {path.name for path in beside.iterdir()}
    assert kept <= {"ledger.sqlite", "locks", "logs", "report"}
    assert not [name for name in storage.list_files(BUCKET) if name.startswith(("staging/", "work/"))]


def test_a_second_run_in_a_bucket_does_nothing_and_files_are_as_they_were_written(remote: Result) -> None:
    again = json.loads(in_bucket("run", "--json").stdout)

    assert {node["status"] for node in again["nodes"]} == {"cached"}
    verified = in_bucket("verify")
    assert verified.exit_code == 0, verified.output


def test_a_model_exported_to_a_bucket_can_be_fetched_and_classifies(remote: Result) -> None:
    served = tf.saved_model.load(storage.local_folder(json.loads(remote.stdout)["exported"]))
    photograph = tf.io.encode_png(tf.zeros((48, 72, 3), tf.uint8))

    answer = served.signatures["serving_default"](image_bytes=tf.stack([photograph]))

    assert answer["probabilities"].shape == (1, len(FUNDUS.class_names))


def test_a_bucket_that_is_not_there_is_a_clear_error(working_folder: Path) -> None:
    result = in_bucket("run", root="s3://nobody/runs")

    assert result.exit_code == 2, result.output
    assert "root: 's3://nobody/runs' cannot be written to" in result.stderr
    assert "Traceback" not in result.output
